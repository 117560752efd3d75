#include "checkpoint/tf_bundle.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/crc32c.h"
#include "checkpoint/findings.h"
#include "checkpoint/tf_entries.h"

namespace bertrand {
namespace {

/// Endings of what an optimizer keeps for a variable, and whole names of its counters.
constexpr std::array<std::string_view, 8> kSlots = {
    "/adam_m", "/adam_v", "/Adam",     "/Adam_1",
    "/lamb_m", "/lamb_v", "/Momentum", "/ExponentialMovingAverage"};
constexpr std::array<std::string_view, 5> kCounters = {"global_step", "beta1_power", "beta2_power",
                                                       "current_loss_scale", "good_steps"};

bool is_of_optimizer(std::string_view name) {
  return std::any_of(kSlots.begin(), kSlots.end(),
                     [&](std::string_view slot) { return name.ends_with(slot); }) ||
         std::find(kCounters.begin(), kCounters.end(), name) != kCounters.end();
}

class TfBundle : public Checkpoint {
 public:
  TfBundle(const std::filesystem::path& prefix, bool check)
      : prefix_(prefix),
        index_path_(prefix.string() + ".index"),
        where_(index_path_.string()),
        check_(check) {
    const MappedFile file(index_path_);
    index_bytes_ = file.bytes().size();
    index_ = read_tf_index(file.bytes(), where_, check_);
    shards_.resize(index_.shards);
    for (const auto& [name, entry] : index_.entries) {
      if (name.starts_with('\0')) continue;  // a slice of another
      add(name, entry);
    }
    tell_short_files();
    refuse_overlaps();
  }

  std::string kind() const override { return "TensorFlow 1 bundle"; }
  std::string format() const override { return "tensorflow-bundle"; }
  const std::vector<TensorInfo>& tensors() const override { return infos_; }
  std::vector<std::string> problems() const override { return problems_.lines(); }

  std::vector<File> files() const override {
    std::vector<File> all = {{index_path_, index_bytes_}};
    for (uint32_t shard = 0; shard < shards_.size(); ++shard) {
      if (shards_[shard].used) {
        const auto& file = shards_[shard].file;
        all.push_back({shard_path(shard), file ? file->bytes().size() : 0});
      }
    }
    return all;
  }

  void release() const override {
    for (const Shard& shard : shards_) {
      if (shard.file) shard.file->release();
    }
  }

  std::span<const std::byte> read(size_t index, std::vector<std::byte>& buffer) const override {
    const TensorInfo& info = infos_[index];
    const TfEntry& entry = index_.entries.find(info.name)->second;
    if (!entry.slices.empty()) {
      join(info, entry, buffer);
      return buffer;
    }
    const auto bytes = checked_bytes(info.name, entry, info.bytes());
    if (!index_.big_endian) {
      return bytes;
    }
    make_room(buffer, bytes.size(), memory_for(info));
    std::copy(bytes.begin(), bytes.end(), buffer.begin());
    swap(buffer, info.type);
    return buffer;
  }

  /// Slices along the first dimension, as TensorFlow's partitioners make them, lie in the tensor
  /// one after the other.
  void read_parts(size_t index, const PartCall& part) const override {
    const TensorInfo& info = infos_[index];
    const TfEntry& entry = index_.entries.find(info.name)->second;
    const std::vector<const TfSlice*> rows = slices_of_rows(info, entry);
    if (rows.empty()) {
      return Checkpoint::read_parts(index, part);
    }
    std::vector<std::byte> buffer;
    for (const TfSlice* slice : rows) {
      const auto bytes = slice_bytes(info, *slice, lengths_of(info, *slice));
      if (index_.big_endian) {
        make_room(buffer, bytes.size(), memory_for(info));
        std::copy(bytes.begin(), bytes.end(), buffer.begin());
        swap(buffer, info.type);
      }
      part(index_.big_endian ? buffer : bytes);
      release();
    }
  }

 private:
  static constexpr size_t kShown = 3;  // tensors in a message

  struct Shard {
    bool used = false;
    bool opened = false;
    Findings lacks{kShown};  // tensors and slices that lie behind its end
    std::optional<MappedFile> file;
  };

  /// Bytes of a data file that belong to a tensor or a slice.
  struct Range {
    uint32_t shard = 0;
    uint64_t offset = 0;
    uint64_t size = 0;
    std::string_view name;  // in the index
  };

  void add(const std::string& name, const TfEntry& entry) {
    if (!checked_size(entry.shape)) refuse(name, "has an impossible shape");
    TensorInfo info{name, entry.type, entry.shape, entry.size};
    if (is_of_optimizer(name) || bits_of(entry.type) == 0) {
      others_.push_back(std::move(info));
      return;
    }
    for (const TfSlice& slice : entry.slices) {
      const auto found = index_.entries.find(slice_key(name, slice));
      if (found == index_.entries.end()) refuse(name, "lacks one of its slices");
      check_place(name, found->second);
    }
    if (entry.slices.empty()) check_place(name, entry);
    infos_.push_back(std::move(info));
  }

  [[noreturn]] void refuse(const std::string& name, const std::string& what) const {
    throw Error(ErrorCode::bad_input,
                fmt::format("{}: \"{}\" {}; the file is damaged.", where_, printable(name), what));
  }

  std::filesystem::path shard_path(uint32_t shard) const {
    return fmt::format("{}.data-{:05}-of-{:05}", prefix_.string(), shard, index_.shards);
  }

  /// Opens the data file of an entry, and notes what is wrong with it.
  void check_place(const std::string& name, const TfEntry& entry) {
    if (entry.shard >= index_.shards) refuse(name, "is in a data file that there is not");
    Shard& shard = shards_[entry.shard];
    shard.used = true;
    if (!std::exchange(shard.opened, true)) {
      const std::filesystem::path path = shard_path(entry.shard);
      if (is_there(path)) {
        shard.file.emplace(path);
      } else {
        problems_.add(path.string() + ": this data file is missing; copy it here as well.");
      }
    }
    if (entry.size > 0) ranges_.push_back({entry.shard, entry.offset, entry.size, name});
    if (shard.file && (entry.offset > shard.file->bytes().size() ||
                       entry.size > shard.file->bytes().size() - entry.offset)) {
      shard.lacks.add('"' + printable(name) + '"');
    }
  }

  /// A line for each file, not for each tensor: a small index may have very many.
  void tell_short_files() {
    for (uint32_t place = 0; place < shards_.size(); ++place) {
      const Shard& shard = shards_[place];
      if (shard.lacks.count() == 0) continue;
      problems_.add(fmt::format("{}: is too short for {}; was it copied whole?",
                                shard_path(place).string(), shard.lacks.list()));
    }
  }

  /// TensorFlow gives each tensor and slice bytes of its own. A small file whose tensors share them
  /// could be of any size, and reading it could take any time.
  void refuse_overlaps() {
    std::sort(ranges_.begin(), ranges_.end(), [](const Range& a, const Range& b) {
      return std::tie(a.shard, a.offset) < std::tie(b.shard, b.offset);
    });
    for (size_t i = 1; i < ranges_.size(); ++i) {
      const Range& before = ranges_[i - 1];
      if (before.shard == ranges_[i].shard && before.size > ranges_[i].offset - before.offset) {
        refuse(std::string(ranges_[i].name), "lies over another tensor in its data file");
      }
    }
    ranges_ = {};
  }

  std::span<const std::byte> checked_bytes(const std::string& name, const TfEntry& entry,
                                           size_t expected) const {
    const std::string at =
        fmt::format("{}: \"{}\"", shard_path(entry.shard).string(), printable(name));
    const auto& file = shards_[entry.shard].file;
    if (!file) throw Error(ErrorCode::bad_input, at + " is in it, and the file is missing.");
    const size_t all = file->bytes().size();
    if (entry.size != expected) refuse(name, "does not have the bytes of its shape");
    if (entry.offset > all || entry.size > all - entry.offset) {
      throw Error(ErrorCode::bad_input, at + " lies behind its end; was it copied whole?");
    }
    const auto bytes =
        file->bytes().subspan(static_cast<size_t>(entry.offset), static_cast<size_t>(entry.size));
    if (check_ && masked_crc32c(crc32c(bytes)) != entry.checksum) {
      throw Error(ErrorCode::bad_input,
                  at + " does not have the checksum of the index; the file is damaged.");
    }
    return bytes;
  }

  static void swap(std::vector<std::byte>& bytes, DataType type) {
    const bool is_pair = type == DataType::c64 || type == DataType::c128;
    const size_t width = size_of(type) / (is_pair ? 2 : 1);
    for (size_t i = 0; i + width <= bytes.size(); i += width) {
      std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(i),
                   bytes.begin() + static_cast<std::ptrdiff_t>(i + width));
    }
  }

  /// Puts the slices of a variable in their places; they must fill it, each element once.
  void join(const TensorInfo& info, const TfEntry& entry, std::vector<std::byte>& buffer) const {
    uint64_t stored = 0;
    for (const TfSlice& slice : entry.slices) {
      stored += index_.entries.find(slice_key(info.name, slice))->second.size;
    }
    uint64_t there = 0;
    for (const Shard& shard : shards_) {
      there += shard.file ? shard.file->bytes().size() : 0;
    }
    if (stored != info.bytes() || stored > there) {
      refuse(info.name, "is not filled by its slices");
    }
    make_room(buffer, info.bytes(), memory_for(info));
    std::vector<bool> filled(static_cast<size_t>(info.size()));
    for (const TfSlice& slice : entry.slices) {
      copy_slice(info, slice, buffer, filled);
      release();
    }
    if (std::find(filled.begin(), filled.end(), false) != filled.end()) {
      refuse(info.name, "is not filled by its slices");
    }
    if (index_.big_endian) swap(buffer, info.type);
  }

  std::string memory_for(const TensorInfo& info) const {
    return where_ + ": tensor \"" + printable(info.name) + "\"";
  }

  /// The slices of a variable from its first row to its last, each of whole rows; none where it is
  /// not in such slices.
  std::vector<const TfSlice*> slices_of_rows(const TensorInfo& info, const TfEntry& entry) const {
    std::vector<const TfSlice*> slices;
    for (const TfSlice& slice : entry.slices) slices.push_back(&slice);
    const auto begins = [](const TfSlice* slice) {
      return slice->starts.empty() ? 0 : slice->starts[0];
    };
    std::sort(slices.begin(), slices.end(),
              [&](const TfSlice* a, const TfSlice* b) { return begins(a) < begins(b); });
    int64_t rows = 0;
    for (const TfSlice* slice : slices) {
      const std::vector<int64_t> lengths = lengths_of(info, *slice);
      if (slice->starts[0] != rows ||
          !std::equal(lengths.begin() + 1, lengths.end(), info.shape.begin() + 1)) {
        return {};
      }
      rows += lengths[0];
    }
    return !slices.empty() && rows == info.shape[0] ? slices : std::vector<const TfSlice*>();
  }

  /// The shape of a slice, which must lie in the tensor.
  std::vector<int64_t> lengths_of(const TensorInfo& info, const TfSlice& slice) const {
    const size_t rank = info.shape.size();
    if (slice.starts.size() != rank || rank == 0) refuse(info.name, "has a slice of another rank");
    std::vector<int64_t> lengths(rank);
    for (size_t i = 0; i < rank; ++i) {
      const bool whole = slice.lengths[i] < 0;
      lengths[i] = whole ? info.shape[i] : slice.lengths[i];
      if (slice.starts[i] < 0 || slice.starts[i] > info.shape[i] ||
          lengths[i] > info.shape[i] - slice.starts[i]) {
        refuse(info.name, "has a slice outside it");
      }
    }
    return lengths;
  }

  std::span<const std::byte> slice_bytes(const TensorInfo& info, const TfSlice& slice,
                                         const std::vector<int64_t>& lengths) const {
    const TensorInfo part{info.name, info.type, lengths};
    const auto& entry = index_.entries.find(slice_key(info.name, slice))->second;
    return checked_bytes(info.name, entry, part.bytes());
  }

  void copy_slice(const TensorInfo& info, const TfSlice& slice, std::vector<std::byte>& buffer,
                  std::vector<bool>& filled) const {
    const std::vector<int64_t> lengths = lengths_of(info, slice);
    const size_t rank = lengths.size();
    const auto bytes = slice_bytes(info, slice, lengths);
    if (bytes.empty()) return;
    const auto width = static_cast<size_t>(lengths[rank - 1]);
    const size_t row = width * size_of(info.type);
    std::vector<int64_t> index(rank, 0);
    for (size_t from = 0; from < bytes.size(); from += row) {
      size_t place = 0;
      for (size_t i = 0; i < rank; ++i) {
        place = place * static_cast<size_t>(info.shape[i]) +
                static_cast<size_t>(slice.starts[i] + index[i]);
      }
      std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(from), row,
                  buffer.begin() + static_cast<std::ptrdiff_t>(place * size_of(info.type)));
      std::fill_n(filled.begin() + static_cast<std::ptrdiff_t>(place), width, true);
      for (size_t i = rank - 1; i-- > 0;) {
        if (++index[i] < lengths[i]) break;
        index[i] = 0;
      }
    }
  }

  std::filesystem::path prefix_;
  std::filesystem::path index_path_;
  std::string where_;
  bool check_;
  uint64_t index_bytes_ = 0;
  TfIndex index_;
  std::vector<Shard> shards_;
  std::vector<Range> ranges_;  // while the index is read
  std::vector<TensorInfo> infos_;
  Findings problems_{/*most=*/100};
};

}  // namespace

std::shared_ptr<const Checkpoint> open_tf_bundle(const std::filesystem::path& prefix, bool check) {
  return std::make_shared<TfBundle>(prefix, check);
}

std::filesystem::path bundle_prefix(const std::filesystem::path& path) {
  std::string name = path.filename().string();
  for (const std::string_view ending : {".index", ".meta"}) {
    if (name.ends_with(ending)) {
      return path.parent_path() / name.substr(0, name.size() - ending.size());
    }
  }
  const size_t data = name.rfind(".data-");
  if (data != std::string::npos && name.find("-of-", data) != std::string::npos) {
    return path.parent_path() / name.substr(0, data);
  }
  return path;
}

}  // namespace bertrand
