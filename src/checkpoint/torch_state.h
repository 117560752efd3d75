#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "checkpoint/pickle.h"
#include "checkpoint/tensor.h"

namespace bertrand {

/// A tensor in a storage of a PyTorch file, checked: all its elements lie in the storage.
struct TorchTensor {
  std::string storage;  ///< the storage's key
  uint64_t offset = 0;  ///< elements in the storage before the first
  std::vector<int64_t> strides;
  uint64_t begin = 0;  ///< the bytes of the storage from the first to the last element
  uint64_t end = 0;
};

/// The tensors that a pickle of PyTorch describes: those of the model (the state dictionary at the
/// top, or under "model", "state_dict" and the like), and those beside it, such as an optimizer's,
/// whose names begin with the keys they lie under.
struct TorchState {
  std::vector<TensorInfo> infos;  ///< of the model, in the file's order
  std::vector<TorchTensor> tensors;
  std::vector<TensorInfo> others;
};

/// Throws Error (bad_input) where there are no tensors, or one lies outside its storage, or repeats
/// its elements. `storage_bytes` gives the bytes of a storage by its key.
TorchState find_state(const PickledObjects& objects, const std::string& where,
                      const std::function<uint64_t(const std::string& key)>& storage_bytes);

/// Copies the elements of a tensor out of its storage, row-major and little-endian. `bytes` begin
/// at tensor.begin. `out` is [info.bytes()].
void gather(const TensorInfo& info, const TorchTensor& tensor, std::span<const std::byte> bytes,
            bool big_endian, std::span<std::byte> out);

/// The elements lie one after the other without gaps.
bool is_contiguous(const TensorInfo& info, const TorchTensor& tensor);

}  // namespace bertrand
