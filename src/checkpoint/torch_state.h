#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/pickle.h"
#include "checkpoint/tensor.h"

namespace bertrand {

/// A tensor in a storage of a PyTorch file, checked: all its elements lie in the storage.
struct TorchTensor {
  std::string storage;         ///< the storage's key
  uint64_t storage_bytes = 0;  ///< that the pickle says it has
  std::vector<int64_t> strides;
  uint64_t begin = 0;  ///< the bytes of the storage from the first to the last element
  uint64_t end = 0;
};

/// The tensors that a pickle of PyTorch describes: those of the model (see torch_model.h), and
/// those beside it, such as an optimizer's, whose names begin with the keys they lie under.
struct TorchState {
  std::vector<TensorInfo> infos;  ///< of the model, in the file's order
  std::vector<TorchTensor> tensors;
  std::vector<TensorInfo> others;
  size_t steps = 0;  ///< entries of dictionaries and lists that were looked at to find them
  std::vector<std::string> notes = {};  ///< whole sentences on what else might be the model
};

/// Throws Error (bad_input) where there are no tensors, or one lies outside its storage, or all
/// together repeat what lies in their storages many times. `storage_bytes` gives the bytes of a
/// storage by its key, unpacked; `file_bytes` are those of the file.
TorchState find_state(const PickledObjects& objects, const std::string& where,
                      const std::function<uint64_t(const std::string& key)>& storage_bytes,
                      uint64_t file_bytes);

/// What both forms of PyTorch's files have in common.
class TorchCheckpoint : public Checkpoint {
 public:
  TorchCheckpoint(MappedFile file, const std::filesystem::path& path)
      : file_(std::move(file)), path_(path), where_(path.string()) {}

  const std::vector<TensorInfo>& tensors() const override { return state_.infos; }
  std::vector<File> files() const override { return {{path_, file_.bytes().size()}}; }
  void release() const override { file_.release(); }
  std::vector<std::string> notes() const override { return state_.notes; }

 protected:
  void set_state(TorchState state) {
    state_ = std::move(state);
    others_ = std::move(state_.others);
  }

  MappedFile file_;
  std::filesystem::path path_;
  std::string where_;
  TorchState state_;
};

}  // namespace bertrand
