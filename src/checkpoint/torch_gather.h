#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "checkpoint/checkpoint.h"
#include "checkpoint/torch_state.h"

namespace bertrand {

/// The elements lie one after the other without gaps.
bool is_contiguous(const TensorInfo& info, const TorchTensor& tensor);

/// Copies elements of a tensor out of its storage, row-major and little-endian, from its element
/// `first` on as many as `out` has room for. `bytes` begin at tensor.begin.
void gather(const TensorInfo& info, const TorchTensor& tensor, std::span<const std::byte> bytes,
            bool big_endian, std::span<std::byte> out, int64_t first = 0);

/// The same of all elements, part by part, so that none but the part is held.
void gather_parts(const TensorInfo& info, const TorchTensor& tensor,
                  std::span<const std::byte> bytes, bool big_endian,
                  const Checkpoint::PartCall& part);

}  // namespace bertrand
