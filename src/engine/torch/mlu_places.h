#pragma once

#include <filesystem>
#include <vector>

namespace bertrand::plugin {

/// The folder lib of the LibTorch in use.
std::filesystem::path libtorch_folder();

/// libtorch_mlu.so: `named` where that is not null; else $BERTRAND_TORCH_LIBRARY; else that of the
/// package torch_mlu beside LibTorch; else of the site-packages of $VIRTUAL_ENV, of $CONDA_PREFIX,
/// or of the python3 on the PATH. No Python is run. Empty where there is none; one that was named
/// need not be there.
std::filesystem::path find_torch_mlu(const char* named);

/// What a libtorch_mlu.so with parts for Python takes its symbols from: libpython, then
/// libtorch_python, as they lie beside it. Those that are not found are left out.
std::vector<std::filesystem::path> python_libraries(const std::filesystem::path& torch_mlu);

}  // namespace bertrand::plugin
