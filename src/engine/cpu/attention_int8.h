#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/cpu/attention.h"
#include "engine/cpu/buffers.h"
#include "engine/cpu/int8.h"

namespace bertrand::cpu {

/// Rows of one head: `length` tokens of `size` values, `stride` floats apart.
struct HeadRows {
  size_t length, size;
  const float* x;
  size_t stride;
};

/// The keys or the values of one head as the right side of a product of 8-bit numbers. Both are
/// rounded about their mean, which is told apart: one added to all scores of a query changes no
/// probability, and a mean of values comes through whatever the probabilities are rounded to.
/// Zhang et al., arXiv:2410.02367.
class Int8Head {
 public:
  /// Columns are tokens, each with a scale of its own, filled up to a multiple of 16 by columns
  /// whose scores are too low to count. bias [n] goes with them.
  void set_keys(const HeadRows& keys);
  /// Columns are the values of a token, each with a scale of its own; bias is their mean.
  void set_values(const HeadRows& values);

  Int8Columns columns() const {
    return {k_, n_, width_, panels_.data(), scales_.data(), sums_.data()};
  }
  const float* bias() const { return bias_.data(); }

 private:
  void reserve(size_t k, size_t n, size_t width);

  size_t k_ = 0, n_ = 0, width_ = 0;
  Aligned<int8_t> panels_;
  Aligned<float> scales_;
  Aligned<int32_t> sums_;
  Aligned<float> bias_;
  Aligned<float> means_;     // of keys
  Aligned<int8_t> numbers_;  // of one key
};

/// Memory of one thread, kept from call to call.
struct Int8AttentionScratch {
  Int8Head keys, values;
  Int8Rows queries, probabilities;  ///< of a few rows
  Aligned<float> scores;
};

/// context = softmax(Q K^T / sqrt(head_size)) V as attention_forward's, without dropout and what
/// backward needs. Queries, keys, probabilities and values are rounded to 8 bits, products are
/// exact, and the bits of the result are the same on every processor. head.length is at most
/// kMostInt8Depth.
void attention_int8(const AttentionHead& head, Int8AttentionScratch& scratch, float* context,
                    size_t context_stride);

}  // namespace bertrand::cpu
