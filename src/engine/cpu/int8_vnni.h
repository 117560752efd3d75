#pragma once

#include <cstddef>
#include <cstdint>

namespace bertrand::cpu {

/// Whether the processor has AVX512_VNNI: sums of four products of bytes in one instruction.
bool has_vnni();

/// Rows that vnni_sums computes at once.
inline constexpr size_t kVnniRows = 6;

/// Exact sums of one panel of 64 columns (see Int8Weights), sums [rows, 64]: `rows` rows of A of
/// bytes, at most kVnniRows, over `groups` groups of four of k. Only where has_vnni().
void vnni_sums(size_t rows, size_t groups, const uint8_t* a, size_t a_stride, const int8_t* b,
               int32_t* sums);

}  // namespace bertrand::cpu
