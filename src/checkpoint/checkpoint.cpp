#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/known_kinds.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/sharded.h"
#include "checkpoint/sorted_table.h"
#include "checkpoint/tf_bundle.h"
#include "checkpoint/tf_entries.h"
#include "checkpoint/torch_files.h"

namespace bertrand {
namespace {

namespace fs = std::filesystem;

class SafetensorsCheckpoint : public Checkpoint {
 public:
  SafetensorsCheckpoint(MappedFile file, const fs::path& path)
      : path_(path), file_(std::move(file)) {
    SafetensorsFile::Contents contents = SafetensorsFile::parse(file_.bytes(), path.string());
    for (TensorView& tensor : contents.tensors) {
      values_.push_back(tensor.bytes);
      infos_.push_back({std::move(tensor.name), tensor.type, std::move(tensor.shape)});
    }
  }

  std::string kind() const override { return "safetensors"; }
  std::string format() const override { return "safetensors"; }
  const std::vector<TensorInfo>& tensors() const override { return infos_; }
  std::vector<File> files() const override { return {{path_, file_.bytes().size()}}; }
  void release() const override { file_.release(); }
  std::span<const std::byte> read(size_t index, std::vector<std::byte>&) const override {
    return values_[index];
  }

 private:
  fs::path path_;
  MappedFile file_;
  std::vector<TensorInfo> infos_;
  std::vector<std::span<const std::byte>> values_;
};

[[noreturn]] void refuse(const fs::path& path, const std::string& what) {
  throw Error(ErrorCode::bad_input, path.string() + ": " + what);
}

bool begins_with(std::span<const std::byte> bytes, std::string_view text, size_t place = 0) {
  return bytes.size() >= place + text.size() &&
         std::string_view(reinterpret_cast<const char*>(bytes.data()) + place, text.size()) == text;
}

/// Whether the first eight bytes can be the length of a safetensors header.
bool has_plausible_length(std::span<const std::byte> bytes) {
  constexpr uint64_t kMost = 100'000'000;  // that the format allows
  uint64_t length = 0;
  if (bytes.size() < sizeof length) return false;
  std::memcpy(&length, bytes.data(), sizeof length);
  return length <= kMost;
}

/// A bundle by one of its files, of which PREFIX.index says what is in the others.
std::shared_ptr<const Checkpoint> open_bundle_of(const fs::path& path) {
  const fs::path prefix = bundle_prefix(path);
  const fs::path index = prefix.string() + ".index";
  if (!is_there(index)) {
    refuse(path, "is a file of a TensorFlow checkpoint, whose index is missing: copy " +
                     index.filename().string() + " here as well.");
  }
  return open_tf_bundle(prefix);
}

std::shared_ptr<const Checkpoint> open_file(const fs::path& path) {
  MappedFile file(path);
  const auto bytes = file.bytes();
  if (bytes.empty()) {
    refuse(path, "is empty.");
  }
  if (begins_with(bytes, "PK\x03\x04") || begins_with(bytes, "PK\x05\x06")) {
    return open_torch_zip(std::move(file), path);
  }
  if (is_torch_legacy(bytes)) {
    return open_torch_legacy(std::move(file), path);
  }
  const bool named_as_bundle = bundle_prefix(path) != path;
  if (is_sorted_table(bytes) && !named_as_bundle) {
    read_tf_index(bytes, path.string());  // may be damaged, or of a form that is not read
    refuse(path,
           "is the index of a TensorFlow checkpoint, but its name does not tell those of the data "
           "files; name it as it was, PREFIX.index with PREFIX.data-00000-of-00001 beside it.");
  }
  if (is_sorted_table(bytes)) {
    return open_bundle_of(path);
  }
  if (is_shard_index(bytes)) {
    return open_sharded(path);
  }
  // Ahead of the others: the length that stands first may look like the beginning of any of them.
  if (begins_with(bytes, "{", sizeof(uint64_t))) {
    return std::make_shared<SafetensorsCheckpoint>(std::move(file), path);
  }
  if (named_as_bundle) {  // values begin with any bytes
    return open_bundle_of(path);
  }
  refuse_known_kinds(bytes, path);
  if (!has_plausible_length(bytes)) {
    refuse(
        path,
        "is of a kind that is not known; read are safetensors, what torch.save writes, the files "
        "of a TensorFlow 1 checkpoint, and the .index.json of a checkpoint in several files.");
  }
  return std::make_shared<SafetensorsCheckpoint>(std::move(file), path);
}

/// Which checkpoint a folder's `checkpoint` file (a text of TensorFlow's) calls the newest.
std::optional<fs::path> newest_bundle(const fs::path& folder) {
  constexpr std::string_view kKey = "model_checkpoint_path: \"";
  std::error_code ignored;
  if (!fs::is_regular_file(folder / "checkpoint", ignored)) {
    return std::nullopt;
  }
  const MappedFile file(folder / "checkpoint");
  const std::string_view text = file.text();
  const size_t begin = text.find(kKey);
  const size_t end = begin == text.npos ? begin : text.find('"', begin + kKey.size());
  if (end == text.npos) {
    return std::nullopt;
  }
  const fs::path named(text.substr(begin + kKey.size(), end - begin - kKey.size()));
  const fs::path index = folder / (named.filename().string() + ".index");
  if (is_there(index)) return index;
  const fs::path old = folder / named.filename();  // one file, before there was an index
  return fs::is_regular_file(old, ignored) ? std::optional(old) : std::nullopt;
}

}  // namespace

std::shared_ptr<const Checkpoint> open_checkpoint(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    const fs::path weights = find_weights(path);
    if (weights.empty() && is_there(path / "saved_model.pb")) {
      refuse(path, "is a TensorFlow SavedModel; name its weights: variables/variables.index.");
    }
    const fs::path snapshot = path / "snapshot";
    if (weights.empty() && is_there(snapshot / "training.json")) {
      refuse(path, "is the folder of a run that is not complete; name its snapshot: " +
                       snapshot.string() + ".");
    }
    if (weights.empty()) {
      refuse(path,
             "holds no weights: neither model.safetensors, pytorch_model.bin, one of these "
             "in several files, nor one TensorFlow checkpoint; name the file itself.");
    }
    return open_checkpoint(weights);
  }
  if (!is_there(path)) {
    if (is_there(path.string() + ".index")) {
      return open_tf_bundle(path);
    }
    const fs::path prefix = bundle_prefix(path);
    throw Error(ErrorCode::io, path.string() + ": there is no such checkpoint" +
                                   (prefix != path ? "" : ", nor " + path.string() + ".index") +
                                   ".");
  }
  try {
    return open_file(path);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::runtime,
                path.string() +
                    ": to open it takes more memory than the system gives; raise the limit (ulimit "
                    "-v) or close other programs.");
  }
}

fs::path find_weights(const fs::path& folder) {
  std::error_code ignored;
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                           "pytorch_model.bin.index.json"}) {
    if (is_there(folder / name)) {
      return folder / name;
    }
  }
  if (const auto newest = newest_bundle(folder)) {
    return *newest;
  }
  fs::path found;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().extension() == ".index") {
      if (!found.empty()) return {};
      found = entry.path();
    }
  }
  return found;
}

}  // namespace bertrand
