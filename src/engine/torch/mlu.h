#pragma once

#include <string>

namespace bertrand::plugin {

/// Opens Cambricon's libtorch_mlu.so, `library` where that is not null or what find_torch_mlu()
/// finds, so that LibTorch knows devices "mlu". It stays open; another one cannot be opened after
/// it. Throws Failure: usage where there is none, failed where it cannot be loaded or brings no
/// such devices, each with what to do.
void open_mlu(const char* library);

/// A symbol of the library opened; null where it has none of this name.
void* mlu_symbol(const char* name);

}  // namespace bertrand::plugin
