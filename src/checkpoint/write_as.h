#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "checkpoint/tensor.h"
#include "checkpoint/weight_writer.h"

namespace bertrand {

/// Writes values of `info`, whole elements, in the type of `target`: as they are where that is the
/// same, else floating point rounded to f32, f16 or bf16. Throws Error (runtime) naming `where` and
/// the tensor where a finite value is too large for the type.
void write_as(const TensorInfo& target, WeightWriter& writer, const TensorInfo& info,
              std::span<const std::byte> bytes, const std::string& where);

}  // namespace bertrand
