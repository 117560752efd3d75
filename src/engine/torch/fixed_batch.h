#pragma once

#include <ATen/core/Tensor.h>
#include <cstddef>
#include <cstdint>
#include <span>
#include <tuple>

#include "engine/torch/batch.h"
#include "engine/torch_border.h"

namespace bertrand::plugin {

/// The sizes of all tensors of a pass: batches of any lengths are rounded up to one of few, so that
/// what was recorded for one of them serves the next.
struct FixedShape {
  int64_t tokens = 0;   ///< T: rows, those of no window of the batch at the end
  int64_t windows = 0;  ///< B: windows, empty ones at the end
  int64_t longest = 0;  ///< L: tokens a window may have

  friend bool operator<(const FixedShape& a, const FixedShape& b) {
    return std::tie(a.tokens, a.windows, a.longest) < std::tie(b.tokens, b.windows, b.longest);
  }

  /// Tokens in steps of 64, from 1024 on of 256, from 4096 on of 512; windows to the next power of
  /// two; the longest window in steps of 64.
  static FixedShape of(const BertrandTorchBatch& batch);

  /// Whether windows are so much alike that little is padded.
  bool is_dense() const;

  /// How many numbers fill() writes.
  int64_t values() const;
};

/// What a pass reads of a batch, padded to the shape, in the order in which arrange() takes it.
/// Rows at the end are word 0 at place 0 in windows of their own; nobody reads what comes of them.
void fill(const BertrandTorchBatch& batch, const FixedShape& shape, std::span<int64_t> values);

/// The batch whose tensors are parts of `values` [shape.values()], i64, or computed from them on
/// their device alone. An empty window has a loss of 0, and no gradient.
DeviceBatch arrange(const at::Tensor& values, const FixedShape& shape);

}  // namespace bertrand::plugin
