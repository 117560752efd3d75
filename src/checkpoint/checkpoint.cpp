#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/sharded.h"
#include "checkpoint/sorted_table.h"
#include "checkpoint/tf_bundle.h"
#include "checkpoint/torch_files.h"

namespace bertrand {
namespace {

namespace fs = std::filesystem;

class SafetensorsCheckpoint : public Checkpoint {
 public:
  explicit SafetensorsCheckpoint(const fs::path& path)
      : path_(path), file_(SafetensorsFile::open(path)) {
    for (const TensorView& tensor : file_.tensors()) {
      infos_.push_back({tensor.name, tensor.type, tensor.shape});
    }
  }

  std::string kind() const override { return "safetensors"; }
  const std::vector<TensorInfo>& tensors() const override { return infos_; }
  std::vector<File> files() const override { return {{path_, file_.file().bytes().size()}}; }
  void release() const override { file_.file().release(); }
  std::span<const std::byte> read(size_t index, std::vector<std::byte>&) const override {
    return file_.tensors()[index].bytes;
  }

 private:
  fs::path path_;
  SafetensorsFile file_;
  std::vector<TensorInfo> infos_;
};

[[noreturn]] void refuse(const fs::path& path, const std::string& what) {
  throw Error(ErrorCode::bad_input, path.string() + ": " + what);
}

bool begins_with(std::span<const std::byte> bytes, std::string_view text, size_t place = 0) {
  return bytes.size() >= place + text.size() &&
         std::string_view(reinterpret_cast<const char*>(bytes.data()) + place, text.size()) == text;
}

/// Kinds that are known by their first bytes and not read, with the remedy.
void refuse_known(std::span<const std::byte> bytes, const fs::path& path) {
  if (begins_with(bytes, "ustar", 257) || begins_with(bytes, "sys_info")) {
    refuse(path,
           "is a TAR file, as the first releases of PyTorch wrote, which is not supported; load it "
           "with "
           "PyTorch and save it again: torch.save(torch.load(OLD), NEW).");
  }
  if (begins_with(bytes, "\x89HDF\r\n")) {
    refuse(path,
           "is an HDF5 file (TensorFlow 2, Keras), which is not supported; save the model with "
           "transformers as model.safetensors or pytorch_model.bin.");
  }
  if (begins_with(bytes, "version https://git-lfs")) {
    refuse(path, "is a pointer of Git LFS, not the file itself; fetch it with git lfs pull.");
  }
  if (begins_with(bytes, "\x80")) {
    refuse(path, "is a pickle, but not of torch.save; save the model's state_dict() with it.");
  }
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
  if (is_sorted_table(bytes)) {
    return open_tf_bundle(bundle_prefix(path));
  }
  if (is_shard_index(bytes)) {
    return open_sharded(path);
  }
  // Ahead of the others: the length that stands first may look like the beginning of any of them.
  if (begins_with(bytes, "{", sizeof(uint64_t))) {
    return std::make_shared<SafetensorsCheckpoint>(path);
  }
  refuse_known(bytes, path);
  if (const fs::path prefix = bundle_prefix(path); prefix != path) {
    return open_tf_bundle(prefix);
  }
  return std::make_shared<SafetensorsCheckpoint>(path);
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
  return fs::exists(index, ignored) ? std::optional(index) : std::nullopt;
}

}  // namespace

std::shared_ptr<const Checkpoint> open_checkpoint(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    const fs::path weights = find_weights(path);
    if (weights.empty()) {
      refuse(path,
             "holds no weights: neither model.safetensors, pytorch_model.bin, one of these "
             "in several files, nor one TensorFlow checkpoint; name the file itself.");
    }
    return open_checkpoint(weights);
  }
  if (!fs::exists(path, ignored)) {
    if (fs::exists(path.string() + ".index", ignored)) {
      return open_tf_bundle(path);
    }
    const fs::path prefix = bundle_prefix(path);
    throw Error(ErrorCode::io, path.string() + ": there is no such checkpoint" +
                                   (prefix != path ? "" : ", nor " + path.string() + ".index") +
                                   ".");
  }
  return open_file(path);
}

fs::path find_weights(const fs::path& folder) {
  std::error_code ignored;
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                           "pytorch_model.bin.index.json"}) {
    if (fs::exists(folder / name, ignored)) {
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
