#include "engine/cpu/attention_int8.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/cpu/int8_vnni.h"

namespace bertrand::cpu {
namespace {

constexpr size_t kStrip = 2 * kInt8TileRows;  // rows of scores at a time, in the first-level cache

}  // namespace

void attention_int8(const AttentionHead& head, Int8AttentionScratch& scratch, float* context,
                    size_t context_stride) {
  const size_t length = head.length;
  const size_t size = head.head_size;
  scratch.keys.set_keys({length, size, head.key, head.stride});
  scratch.values.set_values({length, size, head.value, head.stride});
  const Int8Columns keys = scratch.keys.columns();
  const size_t stride = padded_stride<float>(keys.n);
  scratch.queries.reserve(kStrip, size);
  scratch.probabilities.reserve(kStrip, keys.n);
  scratch.scores.reserve(kStrip * stride);
  // Probabilities are powers of 2: scores are those of e by log2(e).
  const float factor = std::numbers::log2e_v<float> / std::sqrt(static_cast<float>(size));
  for (size_t first = 0; first < length; first += kStrip) {
    const size_t rows = std::min(kStrip, length - first);
    for (size_t row = 0; row < rows; ++row) {
      scratch.queries.set_row(row, size, head.query + (first + row) * head.stride, factor);
    }
    float* scores = scratch.scores.data();
    multiply(Int8Product{rows, &scratch.queries, keys, scratch.keys.bias(), scores, stride});
    for (size_t row = 0; row < rows; ++row) {
      scratch.probabilities.set_softmax(row, keys.n, scores + row * stride);
    }
    multiply(Int8Product{rows, &scratch.probabilities, scratch.values.columns(),
                         scratch.values.bias(), context + first * context_stride, context_stride});
  }
}

}  // namespace bertrand::cpu
