#pragma once

#include "engine/cpu/int8_vnni.h"

namespace bertrand::cpu {

/// Columns of C that avx2_tile computes at once; it takes multiples of them.
inline constexpr size_t kAvx2Columns = 8;

/// Columns of one cache line of B: all rows of A go over them before the next ones.
inline constexpr size_t kAvx2Slice = 16;

/// As vnni_tile, with the same bits, of A in 16-bit numbers: pmaddwd adds the products of two
/// neighbours in 32 bits, so nothing can overflow. At best twice as fast as products of floats, as
/// it multiplies twice as many numbers in one instruction but does not add the sum. Only on
/// processors with AVX2.
void avx2_tile(const Int8Tile& tile);

}  // namespace bertrand::cpu
