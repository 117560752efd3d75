#include <algorithm>
#include <utility>

#include "base/error.h"
#include "checkpoint/torch_files.h"
#include "checkpoint/torch_gather.h"
#include "checkpoint/torch_state.h"
#include "checkpoint/zip_archive.h"

namespace bertrand {
namespace {

constexpr uint64_t kMostPickle = 16 << 20;
constexpr const char* kRemedy =
    " pack the archive again without compression (unzip it; zip -0 -r).";
constexpr std::string_view kPickleName = "data.pkl";

class TorchZip : public TorchCheckpoint {
 public:
  TorchZip(MappedFile file, const std::filesystem::path& path)
      : TorchCheckpoint(std::move(file), path), archive_(ZipArchive::parse(file_.bytes(), where_)) {
    const ZipArchive::Entry& pickle = find_pickle();
    folder_ = pickle.name.substr(0, pickle.name.size() - kPickleName.size());
    if (pickle.size > kMostPickle) {
      refuse("its data.pkl has " + std::to_string(pickle.size) +
             " bytes, more than a checkpoint's can have.");
    }
    big_endian_ = read_byte_order();
    std::vector<std::byte> buffer;
    Cursor cursor(archive_.read(pickle, 0, pickle.size, /*check=*/true, buffer),
                  where_ + ": data.pkl");
    const PickledObjects objects = PickledObjects::parse(cursor, where_);
    set_state(find_state(
        objects, where_, [&](const std::string& key) { return storage(key).size; },
        file_.bytes().size()));
    checked_.resize(archive_.entries().size());
    check_deflated();
  }

  std::string kind() const override { return "PyTorch (zip)"; }
  std::string format() const override { return "pytorch-zip"; }

  std::vector<std::string> notes() const override {
    std::vector<std::string> all = TorchCheckpoint::notes();
    if (!archive_.has_checksums()) {
      all.emplace_back("PyTorch wrote it without checksums, so that damage to it is not found.");
    }
    return all;
  }

  std::span<const std::byte> read(size_t index, std::vector<std::byte>& buffer) const override {
    if (is_plain(index)) return spanned(index, buffer);
    const TensorInfo& info = state_.infos[index];
    std::vector<std::byte> unpacked;
    const auto bytes = spanned(index, unpacked);
    make_room(buffer, info.bytes(), where_ + ": tensor \"" + printable(info.name) + "\"");
    gather(info, state_.tensors[index], bytes, big_endian_, buffer);
    return buffer;
  }

  void read_parts(size_t index, const PartCall& part) const override {
    const TorchTensor& tensor = state_.tensors[index];
    if (!is_plain(index)) {
      std::vector<std::byte> unpacked;
      const auto bytes = spanned(index, unpacked);
      gather_parts(state_.infos[index], tensor, bytes, big_endian_, part);
      return;
    }
    const ZipArchive::Entry& entry = storage(tensor.storage);
    archive_.read_parts(entry, tensor.begin, tensor.end - tensor.begin,
                        /*check=*/!checked(entry), part);
    checked(entry) = true;
  }

 private:
  /// The bytes in the storage are those of the tensor.
  bool is_plain(size_t index) const {
    const TensorInfo& info = state_.infos[index];
    return is_contiguous(info, state_.tensors[index]) && (!big_endian_ || size_of(info.type) == 1);
  }

  /// The bytes of the storage from the tensor's first element to its last.
  std::span<const std::byte> spanned(size_t index, std::vector<std::byte>& buffer) const {
    const TorchTensor& tensor = state_.tensors[index];
    const ZipArchive::Entry& entry = storage(tensor.storage);
    const auto bytes = archive_.read(entry, tensor.begin, tensor.end - tensor.begin,
                                     /*check=*/!checked(entry), buffer);
    checked(entry) = true;
    return bytes;
  }

  size_t place_of(const ZipArchive::Entry& entry) const {
    return static_cast<size_t>(&entry - archive_.entries().data());
  }
  std::vector<bool>::reference checked(const ZipArchive::Entry& entry) const {
    return checked_[place_of(entry)];
  }

  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorCode::bad_input, where_ + ": " + what);
  }

  /// A deflated entry can claim a thousand times its bytes in the file. It is refused where it
  /// claims more than the storage it stands for, or would be unpacked again and again.
  void check_deflated() const {
    constexpr uint64_t kMostTwice = 48 << 20;  // held both as they are stored and in order
    constexpr uint64_t kFewBytes = 64 << 20;
    constexpr uint64_t kMostOften = 4;
    std::vector<bool> seen(archive_.entries().size());
    uint64_t held = 0;      // bytes of all deflated storages
    uint64_t unpacked = 0;  // until every tensor is read
    for (size_t i = 0; i < state_.tensors.size(); ++i) {
      const TorchTensor& tensor = state_.tensors[i];
      const ZipArchive::Entry& entry = storage(tensor.storage);
      if (!entry.deflated) continue;
      const std::string name = "storage \"" + printable(tensor.storage) + "\"";
      if (entry.size != tensor.storage_bytes) {
        refuse(name + " would unpack to " + std::to_string(entry.size) + " bytes, and it has " +
               std::to_string(tensor.storage_bytes) + "; the file is damaged.");
      }
      if (!seen[place_of(entry)]) held += entry.size;
      seen[place_of(entry)] = true;
      if (__builtin_add_overflow(unpacked, tensor.end, &unpacked)) unpacked = ~uint64_t{0};
      const uint64_t spans = tensor.end - tensor.begin;
      if (!is_plain(i) && std::max<uint64_t>(spans, state_.infos[i].bytes()) > kMostTwice) {
        refuse("tensor \"" + printable(state_.infos[i].name) +
               "\" is deflated and does not lie in order, so that much memory would be needed;" +
               kRemedy);
      }
    }
    if (unpacked > kFewBytes && (unpacked - kFewBytes) / kMostOften > held) {
      refuse(std::string("its storages are deflated and would be unpacked too often, for so many "
                         "tensors lie in them;") +
             kRemedy);
    }
  }

  const ZipArchive::Entry& find_pickle() const {
    const ZipArchive::Entry* found = nullptr;
    for (const ZipArchive::Entry& entry : archive_.entries()) {
      const bool fits = entry.name == kPickleName || entry.name.ends_with("/data.pkl");
      if (fits && (found == nullptr || entry.name.size() < found->name.size())) found = &entry;
    }
    if (found == nullptr) {
      refuse(
          "is a ZIP file without data.pkl, so PyTorch did not write it; unpack it if a model is in "
          "it.");
    }
    return *found;
  }

  const ZipArchive::Entry& storage(const std::string& key) const {
    const ZipArchive::Entry* entry = archive_.find(folder_ + "data/" + key);
    if (entry == nullptr) {
      refuse("storage \"" + printable(key) + "\" is missing; the file is damaged.");
    }
    return *entry;
  }

  bool read_byte_order() const {
    constexpr uint64_t kMost = 16;
    const ZipArchive::Entry* entry = archive_.find(folder_ + "byteorder");
    if (entry == nullptr) {
      return false;  // written before there was a choice
    }
    std::vector<std::byte> buffer;
    const auto bytes =
        archive_.read(*entry, 0, std::min(entry->size, kMost), /*check=*/false, buffer);
    const std::string_view order(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (order != "little" && order != "big") {
      refuse("its byteorder is \"" + printable(order) +
             "\", neither little nor big; the file is damaged.");
    }
    return order == "big";
  }

  ZipArchive archive_;
  std::string folder_;
  bool big_endian_ = false;
  mutable std::vector<bool> checked_;  // by entry: its checksum was right
};

}  // namespace

std::shared_ptr<const Checkpoint> open_torch_zip(MappedFile file,
                                                 const std::filesystem::path& path) {
  return std::make_shared<TorchZip>(std::move(file), path);
}

}  // namespace bertrand
