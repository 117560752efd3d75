#include "engine/torch/mlu_places.h"

#include <algorithm>
#include <c10/core/DeviceType.h>
#include <cstdlib>
#include <dlfcn.h>
#include <string>
#include <system_error>

namespace bertrand::plugin {
namespace {

namespace fs = std::filesystem;

/// In the site-packages of a Python.
constexpr const char* kTorchMlu = "torch_mlu/csrc/lib/libtorch_mlu.so";
constexpr const char* kTorchPython = "torch/lib/libtorch_python.so";

bool is_there(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(file, ignored);
}

fs::path environment(const char* name) {
  const char* set = std::getenv(name);
  return set != nullptr ? set : "";
}

/// What is in the folder, in an order of its own.
std::vector<fs::path> entries(const fs::path& folder) {
  std::error_code failed;
  std::vector<fs::path> all;
  for (fs::directory_iterator entry(folder, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    all.push_back(entry->path());
  }
  std::sort(all.begin(), all.end());
  return all;
}

/// Of PREFIX/lib/python3.10/site-packages, and as distributions name them.
fs::path torch_mlu_of(const fs::path& prefix) {
  for (const char* lib : {"lib", "lib64"}) {
    for (const fs::path& python : entries(prefix / lib)) {
      if (!python.filename().string().starts_with("python3")) {
        continue;
      }
      for (const char* packages : {"site-packages", "dist-packages"}) {
        const fs::path file = python / packages / kTorchMlu;
        if (is_there(file)) {
          return file;
        }
      }
    }
  }
  return {};
}

/// PREFIX of PREFIX/bin/python3: as it is named, which is that of a virtual environment, and where
/// its links lead.
std::vector<fs::path> python_prefixes() {
  std::string rest = environment("PATH").string();
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(':'), rest.size());
    const fs::path python = fs::path(rest.substr(0, end)) / "python3";
    rest.erase(0, end + 1);
    if (is_there(python)) {
      std::error_code failed;
      const fs::path real = fs::canonical(python, failed);
      return {python.parent_path().parent_path(), real.parent_path().parent_path()};
    }
  }
  return {};
}

/// "3.10" of a path with a folder python3.10; else of torch/_C.cpython-310-x86_64-linux-gnu.so in
/// the site-packages; else empty.
std::string python_version(const fs::path& file, const fs::path& packages) {
  constexpr const char* kFolder = "python";
  for (const fs::path& part : file) {
    const std::string name = part.string();
    if (name.starts_with(std::string(kFolder) + "3.")) {
      return name.substr(std::string(kFolder).size());
    }
  }
  constexpr const char* kModule = "_C.cpython-3";
  for (const fs::path& entry : entries(packages / "torch")) {
    const std::string name = entry.filename().string();
    if (name.starts_with(kModule)) {
      std::string minor = name.substr(std::string(kModule).size());
      minor = minor.substr(0, minor.find('-'));
      return "3." + minor;
    }
  }
  return {};
}

/// The libpython of PREFIX/lib/python3.10/site-packages/...; where none lies there, its name, which
/// the system's own places may know.
fs::path libpython(const fs::path& packages, const std::string& version) {
  const fs::path lib = packages.parent_path().parent_path();
  for (const char* end : {".so.1.0", ".so"}) {
    const fs::path file = lib / ("libpython" + version + end);
    if (is_there(file)) {
      return file;
    }
  }
  return "libpython" + version + ".so.1.0";
}

}  // namespace

fs::path libtorch_folder() {
  Dl_info of{};
  const auto* known = reinterpret_cast<const void*>(&c10::register_privateuse1_backend);
  return ::dladdr(known, &of) != 0 ? fs::path(of.dli_fname).parent_path() : fs::path();
}

fs::path find_torch_mlu(const char* named) {
  if (named != nullptr) {
    return named;
  }
  if (const fs::path set = environment("BERTRAND_TORCH_LIBRARY"); !set.empty()) {
    return set;
  }
  const fs::path beside = libtorch_folder().parent_path().parent_path() / kTorchMlu;
  if (is_there(beside)) {
    return beside;
  }
  std::vector<fs::path> prefixes = python_prefixes();
  for (const char* name : {"CONDA_PREFIX", "VIRTUAL_ENV"}) {
    if (const fs::path prefix = environment(name); !prefix.empty()) {
      prefixes.insert(prefixes.begin(), prefix);
    }
  }
  for (const fs::path& prefix : prefixes) {
    if (fs::path found = torch_mlu_of(prefix); !found.empty()) {
      return found;
    }
  }
  return {};
}

std::vector<fs::path> python_libraries(const fs::path& torch_mlu) {
  // SITE-PACKAGES/torch_mlu/csrc/lib/libtorch_mlu.so
  const fs::path packages = torch_mlu.parent_path().parent_path().parent_path().parent_path();
  std::vector<fs::path> libraries;
  if (const std::string version = python_version(torch_mlu, packages); !version.empty()) {
    libraries.push_back(libpython(packages, version));
  }
  if (const fs::path file = packages / kTorchPython; is_there(file)) {
    libraries.push_back(file);
  }
  return libraries;
}

}  // namespace bertrand::plugin
