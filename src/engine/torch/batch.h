#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <vector>

#include "engine/torch_border.h"

namespace bertrand::plugin {

/// Windows of like length, padded to the longest of them.
struct Bucket {
  int64_t windows = 0, length = 0;
  at::Tensor rows;   ///< [windows * length] of the packed row each padded one is taken from
  at::Tensor valid;  ///< [windows, 1, 1, length], undefined where nothing is padded
};

/// A batch on the device. T tokens in B windows; everything travels in one piece.
struct DeviceBatch {
  at::Tensor ids, segments, positions;  ///< [T], i64
  std::vector<int64_t> offsets;         ///< [B + 1]
  std::vector<uint64_t> keys;           ///< [B]
  int64_t longest = 0;                  ///< tokens of the longest window

  std::vector<Bucket> buckets;  ///< for attention over padded windows
  at::Tensor bucket_rows;       ///< [T]: where each token is in all buckets one after the other
  at::Tensor begins;            ///< [B + 1], i32: offsets, for attention over packed windows

  Bucket all;             ///< every window padded to the longest, in order; for the loss
  at::Tensor start, end;  ///< [B, 1], i64; undefined without targets

  int64_t windows() const { return static_cast<int64_t>(keys.size()); }
  int64_t tokens() const { return offsets.back(); }
};

/// Which places of windows padded to `longest` are of the window; lengths [windows], i64. The
/// result is [windows, 1, 1, longest].
at::Tensor valid_places(const at::Tensor& lengths, int64_t longest);

DeviceBatch to_device(const BertrandTorchBatch& batch, const c10::Device& device);

}  // namespace bertrand::plugin
