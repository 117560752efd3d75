#include "engine/torch/kernels.h"

#include <ATen/core/dispatch/Dispatcher.h>

namespace bertrand::plugin {

bool has_kernel(const char* name, const char* overload, c10::DispatchKey key) {
  const auto found = c10::Dispatcher::singleton().findSchema({name, overload});
  return found && found->hasKernelForDispatchKey(key);
}

}  // namespace bertrand::plugin
