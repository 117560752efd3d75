#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>

#include "engine/torch/batch.h"
#include "engine/torch/dropout.h"

namespace bertrand::plugin {

/// What attention is computed by.
enum class AttentionKind {
  plain,         ///< window by window, softmax written out; dropout masks may be ours
  padded,        ///< LibTorch's fused kernel over windows padded into buckets
  padded_plain,  ///< the same, softmax written out, for devices that may have no such kernel
  padded_asked,  ///< one or the other, as the device's library says of each bucket
  packed,        ///< LibTorch's kernel over windows of any length, 16 bits, on devices that have it
};

/// softmax(q k^T / sqrt(head_size)) v within each window. query, key, value and the result are
/// [T, hidden_size] of one type; the heads stand side by side.
at::Tensor attention(AttentionKind kind, const at::Tensor& query, const at::Tensor& key,
                     const at::Tensor& value, int64_t heads, int64_t layer,
                     const DeviceBatch& batch, const PassDropout& dropout);

}  // namespace bertrand::plugin
