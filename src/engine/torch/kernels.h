#pragma once

#include <c10/core/DispatchKey.h>

namespace bertrand::plugin {

/// Whether LibTorch's dispatcher has a kernel of this operator, "aten::mul" and its overload "out",
/// under the key itself: for PrivateUse1, one that the device's own library brings. What would go
/// by way of the CPU instead is none.
bool has_kernel(const char* name, const char* overload, c10::DispatchKey key);

}  // namespace bertrand::plugin
