#pragma once

#include <cstddef>
#include <cstdint>

#include <hwy/detect_targets.h>

namespace bertrand::cpu {

/// Whether the processor has AVX512_VNNI: sums of four products of bytes in one instruction.
bool has_vnni();

/// Whether code of this instruction set multiplies bytes. Only the widest may, so that tests reach
/// the other way, too.
inline bool takes_bytes(int64_t target) { return target <= HWY_AVX3 && has_vnni(); }

/// Rows of C that are computed at once.
inline constexpr size_t kInt8TileRows = 6;

/// A part of C = A B + bias: rows of A, at most kInt8TileRows, times columns of one panel, at most
/// kInt8Panel.
struct Int8Tile {
  size_t rows, columns;
  size_t groups;  ///< of four of k
  const uint8_t* a;
  size_t a_stride;        ///< bytes
  const float* a_scales;  ///< [rows]
  const int32_t* a_zeros;
  const int8_t* b;
  size_t b_stride;        ///< bytes from one group to the next
  const float* b_scales;  ///< [columns]
  const int32_t* b_sums;
  const float* bias;
  float* c;
  size_t c_stride;
};

/// c = (sum - zero b_sum) (scale b_scale) + bias, each operation rounded by itself, so that the
/// bits are the same wherever they are computed. A is of bytes. Only where has_vnni().
void vnni_tile(const Int8Tile& tile);

}  // namespace bertrand::cpu
