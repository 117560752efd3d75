#pragma once

#include <ATen/core/Generator.h>

namespace standin {

/// Of a device, or of the current one where the index is -1; apart from the CPU's.
const at::Generator& generator(int index);

}  // namespace standin
