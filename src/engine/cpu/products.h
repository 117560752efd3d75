#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "engine/engine.h"

namespace bertrand::cpu {

/// A row-major matrix; `stride` is the distance of two rows in elements.
struct MatrixBf16 {
  const uint16_t* data;
  size_t stride;
};

/// The shape of a product: C [m, n] = A [m, k] B [k, n], either of A and B perhaps stored
/// transposed.
struct ProductShape {
  size_t m, n, k;
  bool transpose_a = false;  ///< A is stored [k, m]
  bool transpose_b = false;  ///< B is stored [n, k]
  bool accumulate = false;   ///< C += A B
};

/// A bf16 product with f32 sums on the calling thread alone, by oneDNN; this is the only file that
/// knows it. Throws Error (runtime) where oneDNN refuses.
void multiply(const ProductShape& shape, MatrixBf16 a, MatrixBf16 b, float* c, size_t c_stride);

/// An f32 product of made-up numbers to be called again and again, on the calling thread alone,
/// with B packed beforehand as the library likes it best: the limit that benchmarks compare with.
std::function<void()> packed_product(const ProductShape& shape);

/// Versions of the libraries that compute, by name: {"oneDNN": "2.6.3", "Highway": ...}.
std::map<std::string, std::string> library_versions();

/// True where its bf16 products run on bf16 instructions.
bool library_has_bf16();

/// True where these multiply whole tiles (AMX), which can do more than vectors (bf16.h).
bool library_has_tiles();

}  // namespace bertrand::cpu
