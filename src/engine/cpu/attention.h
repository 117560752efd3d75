#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/cpu/buffers.h"
#include "engine/cpu/kernels.h"

namespace bertrand::cpu {

/// One head of one window: `length` tokens, rows of `head_size` values inside wider rows.
struct AttentionHead {
  size_t length;
  size_t head_size;
  const float* query;  ///< key and value have the same stride
  const float* key;
  const float* value;
  size_t stride;
  DropoutKey dropout;  ///< of the probabilities; threshold 0: none
  uint64_t window;     ///< the key of the window
  uint32_t head;
  uint8_t* kept;  ///< [length, dropout_bytes(length)], what forward drops; null without dropout
};

/// Memory of one thread, kept from call to call.
class AttentionScratch {
 public:
  /// The next piece of `count` floats, on a cache line.
  float* take(size_t count);
  void restart(size_t capacity);

 private:
  Aligned<float> memory_;
  size_t used_ = 0;
};

/// context = dropout(softmax(Q K^T / sqrt(head_size))) V, a panel of rows at a time so that the
/// probabilities stay in the cache. log_sum_exp [length] of the scores is kept for backward.
/// Vaswani et al., arXiv:1706.03762; the kept sums as in Dao et al., arXiv:2205.14135.
void attention_forward(const AttentionHead& head, AttentionScratch& scratch, float* context,
                       size_t context_stride, float* log_sum_exp);

struct AttentionGradients {
  const float* context;   ///< as made by attention_forward
  const float* dcontext;  ///< same stride
  size_t context_stride;
  const float* log_sum_exp;
  float* dquery;  ///< written; key and value likewise, all with the same stride
  float* dkey;
  float* dvalue;
  size_t stride;
};

/// The gradients of query, key and value; probabilities are computed again from log_sum_exp.
void attention_backward(const AttentionHead& head, AttentionScratch& scratch,
                        const AttentionGradients& gradients);

}  // namespace bertrand::cpu
