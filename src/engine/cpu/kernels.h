#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/cpu/buffers.h"
#include "engine/dropout.h"

/// The parts of the network between the matrix products, in SIMD with run-time dispatch, each on
/// the calling thread. Rows are tokens; `columns` values a row, `stride` elements from row to row.
namespace bertrand::cpu {

/// Mask buffers: elements of a row with what rounds them up to whole groups of random bits, and
/// bytes of one bit for each.
constexpr size_t dropout_columns(size_t columns) {
  return (columns + kDropoutGroup - 1) / kDropoutGroup * kDropoutGroup;
}
constexpr size_t dropout_bytes(size_t columns) { return dropout_columns(columns) / 8; }

/// mask[i] = 0 or key.scale for the elements of one row. A row is told from others by window and
/// place (token, or token and head). `mask` has room for dropout_columns(columns). Where `kept` is
/// not null, bit i % 8 of its byte i / 8 tells whether element i is kept [dropout_bytes(columns)].
void dropout_mask(const DropoutKey& key, uint64_t window, uint32_t place, size_t columns,
                  float* mask, uint8_t* kept = nullptr);

/// The same mask from its bits; `scale` is that of the key.
void dropout_mask_again(const uint8_t* kept, float scale, size_t columns, float* mask);

/// x += bias, every row.
void add_bias(size_t rows, size_t columns, const float* bias, float* x, size_t stride);

/// One row: y = GELU(x + bias), by erf or tanh; bias may be null (0), y may be x.
void bias_gelu(bool tanh_form, size_t columns, const float* bias, const float* x, RowTarget y);

/// The same; x becomes GELU'(x + bias), all that backward needs of it. y is another array.
void bias_gelu_with_slope(bool tanh_form, size_t columns, const float* bias, float* x, RowTarget y);

/// One row: s = residual + mask * (x + bias); normalized = (s - mean) * rstd;
/// y = normalized * gamma + beta. Returns rstd = 1 / sqrt(variance + epsilon). bias, mask and
/// residual may be null (0, 1, 0). Ba, Kiros, Hinton, arXiv:1607.06450.
float layer_norm(size_t columns, const float* x, const float* bias, const float* mask,
                 const float* residual, const float* gamma, const float* beta, float epsilon,
                 float* normalized, RowTarget y);

/// One row: dgamma += dy * normalized, dbeta += dy,
/// dx = rstd * (g - mean(g) - normalized * mean(g * normalized)) with g = dy * gamma. dx may be dy.
void layer_norm_backward(size_t columns, const float* dy, const float* normalized, float rstd,
                         const float* gamma, float* dx, float* dgamma, float* dbeta);

/// One row: y = x * mask (mask null: y = x); column_sums += y. y may be x.
void mask_and_sum(size_t columns, const float* x, const float* mask, RowTarget y,
                  float* column_sums);

/// y += x.
void add(size_t count, const float* x, float* y);

/// y += factor * x.
void add_scaled(size_t count, float factor, const float* x, float* y);

float dot(size_t count, const float* x, const float* y);

/// Sum of squares, in f64.
double sum_of_squares(size_t count, const float* x);

/// f32 to bf16, to nearest even.
void to_bf16(size_t count, const float* x, uint16_t* y);

/// What makes a softmax of powers, see softmax_powers.
struct PowerSums {
  float sum;          ///< the powers by it are the softmax
  float log_sum_exp;  ///< log(sum(exp(factor x)))
};
/// One row: x becomes exp(factor x - max(factor x)), factor above 0; it is 0 from `columns` to
/// `padded`, the next multiple of 16.
PowerSums softmax_powers(size_t columns, size_t padded, float factor, float* x);

/// One row of the derivative of softmax with dropout, p = exp(x - log_sum_exp) made again: dp
/// becomes p * (mask * dp - mean), and x becomes p * mask, both 0 from `columns` to `padded`, the
/// next multiple of 16; what stands there before is read. mask may be null (1).
void softmax_backward(size_t columns, size_t padded, float log_sum_exp, const float* mask,
                      float mean, float* x, float* dp);

/// Copies rows times `factor`: to [rows, to_stride], 0 from `columns` to `padded`.
void copy_rows(size_t rows, size_t columns, float factor, const float* from, size_t from_stride,
               float* to, size_t to_stride, size_t padded);

/// Copies [rows, columns] turned round: to [columns, padded], 0 from `rows` on.
void transpose(size_t rows, size_t columns, const float* from, size_t stride, float* to,
               size_t padded);

/// y *= x over [count].
void multiply_in_place(size_t count, const float* x, float* y);

/// C [m, n] = A B, or += with `accumulate`; element (i, k) of A is a[i * a_row + k * a_column];
/// B [k, n] and C are row-major, n a multiple of 16.
struct SmallProduct {
  size_t m, n, k;
  const float* a;
  size_t a_row, a_column;
  const float* b;
  size_t b_stride;
  float* c;
  size_t c_stride;
  bool accumulate;
};
void small_multiply(const SmallProduct& product);

/// How Adam moves `count` values. rate and decay are per step; see optimizer.cpp for the two forms.
struct AdamStep {
  float gradient_scale;  ///< from clipping
  float beta1, beta2, epsilon;
  float step_size;  ///< of m / (sqrt(v) * v_scale + epsilon)
  float v_scale;    ///< 1 / sqrt(bias correction of v)
  float decay;      ///< values shrink by this fraction
};
/// gradient may be null (0).
void adam(size_t count, const AdamStep& step, const float* gradient, float* m, float* v,
          float* values);

}  // namespace bertrand::cpu
