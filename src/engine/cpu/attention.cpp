#include "engine/cpu/attention.h"

#include <algorithm>
#include <cmath>

namespace bertrand::cpu {
namespace {

constexpr size_t kPanel = 48;  // rows of probabilities at a time
constexpr size_t kLine = 16;   // floats

size_t rounded(size_t count) { return (count + kLine - 1) / kLine * kLine; }

/// Copies rows of one head, times `factor`, into rows of `padded` values, the rest 0.
void pack(size_t rows, size_t columns, float factor, const float* from, size_t stride,
          size_t padded, float* to) {
  copy_rows(rows, columns, factor, from, stride, to, padded, padded);
}

/// The other way.
void unpack(size_t rows, size_t columns, float factor, const float* from, size_t padded, float* to,
            size_t stride) {
  copy_rows(rows, columns, factor, from, padded, to, stride, columns);
}

uint8_t* kept_of(const AttentionHead& head, size_t row) {
  return head.kept + row * dropout_bytes(head.length);
}

}  // namespace

float* AttentionScratch::take(size_t count) {
  float* piece = memory_.data() + used_;
  used_ += rounded(count);
  return piece;
}

void AttentionScratch::restart(size_t capacity) {
  memory_.reserve(capacity);
  used_ = 0;
}

void attention_forward(const AttentionHead& head, AttentionScratch& scratch, float* context,
                       size_t context_stride, float* log_sum_exp) {
  const size_t length = head.length;
  const size_t columns = rounded(length);
  const size_t stride = padded_stride<float>(length);
  const size_t size = padded_stride<float>(head.head_size);
  scratch.restart((stride + columns) * size + kPanel * (stride + 2 * size) +
                  dropout_columns(columns));
  float* keys = scratch.take(size * stride);
  float* values = scratch.take(columns * size);
  float* queries = scratch.take(kPanel * size);
  float* scores = scratch.take(kPanel * stride);
  float* result = scratch.take(kPanel * size);
  float* mask = scratch.take(dropout_columns(columns));
  const float scale = 1.0F / std::sqrt(static_cast<float>(head.head_size));
  transpose(length, head.head_size, head.key, head.stride, keys, stride);
  pack(length, head.head_size, /*factor=*/1.0F, head.value, head.stride, size, values);
  for (size_t first = 0; first < length; first += kPanel) {
    const size_t rows = std::min(kPanel, length - first);
    pack(rows, head.head_size, /*factor=*/1.0F, head.query + first * head.stride, head.stride, size,
         queries);
    small_multiply({rows, columns, head.head_size, queries, size, 1, keys, stride, scores, stride,
                    /*accumulate=*/false});
    float sums[kPanel];
    for (size_t row = 0; row < rows; ++row) {
      float* powers = scores + row * stride;
      const PowerSums of_row = softmax_powers(length, columns, scale, powers);
      sums[row] = of_row.sum;
      log_sum_exp[first + row] = of_row.log_sum_exp;
      if (head.dropout.threshold > 0) {
        const uint32_t place =
            attention_dropout_place(head.head, static_cast<uint32_t>(first + row));
        dropout_mask(head.dropout, head.window, place, length, mask, kept_of(head, first + row));
        multiply_in_place(columns, mask, powers);
      }
    }
    small_multiply({rows, size, length, scores, stride, 1, values, size, result, size,
                    /*accumulate=*/false});
    for (size_t row = 0; row < rows; ++row) {
      unpack(/*rows=*/1, head.head_size, 1.0F / sums[row], result + row * size, size,
             context + (first + row) * context_stride, context_stride);
    }
  }
}

void attention_backward(const AttentionHead& head, AttentionScratch& scratch,
                        const AttentionGradients& gradients) {
  const size_t length = head.length;
  const size_t columns = rounded(length);
  const size_t stride = padded_stride<float>(length);
  const size_t size = padded_stride<float>(head.head_size);
  scratch.restart((2 * stride + 3 * columns) * size + kPanel * (2 * stride + 3 * size) +
                  dropout_columns(columns));
  float* keys_turned = scratch.take(size * stride);
  float* values_turned = scratch.take(size * stride);
  float* keys = scratch.take(columns * size);
  float* dkeys = scratch.take(columns * size);
  float* dvalues = scratch.take(columns * size);
  float* queries = scratch.take(kPanel * size);
  float* dresult = scratch.take(kPanel * size);
  float* dqueries = scratch.take(kPanel * size);
  float* p = scratch.take(kPanel * stride);
  float* dp = scratch.take(kPanel * stride);
  float* mask = scratch.take(dropout_columns(columns));
  const float scale = 1.0F / std::sqrt(static_cast<float>(head.head_size));
  const bool drops = head.dropout.threshold > 0;
  transpose(length, head.head_size, head.key, head.stride, keys_turned, stride);
  transpose(length, head.head_size, head.value, head.stride, values_turned, stride);
  pack(length, head.head_size, /*factor=*/1.0F, head.key, head.stride, size, keys);
  std::fill_n(dkeys, columns * size, 0.0F);
  std::fill_n(dvalues, columns * size, 0.0F);
  for (size_t first = 0; first < length; first += kPanel) {
    const size_t rows = std::min(kPanel, length - first);
    const float* context = gradients.context + first * gradients.context_stride;
    const float* dcontext = gradients.dcontext + first * gradients.context_stride;
    pack(rows, head.head_size, scale, head.query + first * head.stride, head.stride, size, queries);
    pack(rows, head.head_size, /*factor=*/1.0F, dcontext, gradients.context_stride, size, dresult);
    small_multiply({rows, columns, head.head_size, queries, size, 1, keys_turned, stride, p, stride,
                    /*accumulate=*/false});
    small_multiply({rows, columns, head.head_size, dresult, size, 1, values_turned, stride, dp,
                    stride, /*accumulate=*/false});
    for (size_t row = 0; row < rows; ++row) {
      if (drops) {
        dropout_mask_again(kept_of(head, first + row), head.dropout.scale, length, mask);
      }
      // sum_j p_ij dp_ij, with dropout or without, is the context times its gradient
      const float mean = dot(head.head_size, context + row * gradients.context_stride,
                             dcontext + row * gradients.context_stride);
      softmax_backward(length, columns, gradients.log_sum_exp[first + row], drops ? mask : nullptr,
                       mean, p + row * stride, dp + row * stride);
    }
    small_multiply({length, size, rows, p, 1, stride, dresult, size, dvalues, size,
                    /*accumulate=*/true});
    // queries carry the scale already
    small_multiply({length, size, rows, dp, 1, stride, queries, size, dkeys, size,
                    /*accumulate=*/true});
    small_multiply({rows, size, length, dp, stride, 1, keys, size, dqueries, size,
                    /*accumulate=*/false});
    unpack(rows, head.head_size, scale, dqueries, size, gradients.dquery + first * gradients.stride,
           gradients.stride);
  }
  unpack(length, head.head_size, /*factor=*/1.0F, dkeys, size, gradients.dkey, gradients.stride);
  unpack(length, head.head_size, /*factor=*/1.0F, dvalues, size, gradients.dvalue,
         gradients.stride);
}

}  // namespace bertrand::cpu
