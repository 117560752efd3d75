#include "engine/torch/mlu.h"

#include <c10/core/DeviceType.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <dlfcn.h>
#include <filesystem>
#include <mutex>
#include <system_error>
#include <torch/version.h>

#include "engine/torch/failure.h"
#include "engine/torch/mlu_places.h"
#include "engine/torch/sentence.h"

namespace bertrand::plugin {
namespace {

namespace fs = std::filesystem;

constexpr const char* kHowToGive = "give its file by --torch-library or in $BERTRAND_TORCH_LIBRARY";

/// The library opened, once a process.
struct Opened {
  std::mutex mutex;
  fs::path path;
  void* handle = nullptr;
};
Opened& opened() {
  static Opened the_one;
  return the_one;
}

[[noreturn]] void fail(BertrandTorchStatus status, const std::string& sentence) {
  throw Failure(status, "--device mlu: " + sentence + ".");
}

/// Null, and why, where it cannot be loaded. Not all its functions need be there: those for Python
/// are never called. All that come later may take symbols from it, as it takes them from others.
void* load(const fs::path& file, std::string& why) {
  void* handle = ::dlopen(file.c_str(), RTLD_LAZY | RTLD_GLOBAL);
  if (handle == nullptr) {
    const char* reason = ::dlerror();
    why = reason != nullptr ? reason : "no reason given";
  }
  return handle;
}

/// LibTorch was opened with the plug-in, for the plug-in alone; now it is to be had by all.
void share_libtorch() {
  for (const char* name : {"libc10.so", "libtorch_cpu.so"}) {
    ::dlopen((libtorch_folder() / name).c_str(), RTLD_LAZY | RTLD_GLOBAL | RTLD_NOLOAD);
  }
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

/// "libpython3.10" of ".../libpython3.10.so.1.0", as distributions name the package; empty where it
/// is no libpython.
std::string python_package(const fs::path& library) {
  const std::string name = library.filename().string();
  return name.starts_with("libpython") ? name.substr(0, name.find(".so")) : "";
}

/// Why a library cannot be loaded; `python` says so of those of Python, with what to do.
struct Obstacle {
  std::string why;
  std::string python;
};

/// Both of Python's, the later of which wants the earlier. Returns what hinders them.
std::string load_python(const fs::path& torch_mlu) {
  std::string obstacles;
  for (const fs::path& library : python_libraries(torch_mlu)) {
    std::string why;
    if (load(library, why) != nullptr) {
      continue;
    }
    obstacles += (obstacles.empty() ? "" : "; ") + why;
    if (const std::string package = python_package(library); !package.empty()) {
      obstacles += ": install the package " + package +
                   ", or set LD_LIBRARY_PATH to the folder of " + library.filename().string();
    }
  }
  return obstacles;
}

/// Libraries it may need that a Python process would have loaded are loaded before a second try: no
/// interpreter is started.
void* load_with_others(const fs::path& file, Obstacle& obstacle) {
  std::string& why = obstacle.why;
  void* handle = load(file, why);
  if (handle == nullptr && has(why, "libtorch.so")) {
    std::string ignored;  // it is missed again
    load(libtorch_folder() / "libtorch.so", ignored);
    handle = load(file, why);
  }
  if (handle == nullptr && (has(why, "undefined symbol") || has(why, "python"))) {
    obstacle.python = load_python(file);
    handle = load(file, why);
  }
  return handle;
}

/// What Python's libraries lack comes first: a symbol missing may be theirs.
[[noreturn]] void fail_to_load(const fs::path& file, const Obstacle& obstacle) {
  std::string sentence = file.string() + " cannot be loaded (" + obstacle.why + "). ";
  if (!obstacle.python.empty()) {
    sentence += "It may want symbols of Python's libraries, which cannot be loaded either (" +
                obstacle.python + "). ";
  }
  fail(bertrand_torch_failed,
       sentence +
           "Where a library is missing, set LD_LIBRARY_PATH to $NEUWARE_HOME/lib64; where a symbol "
           "is, it was made for another LibTorch than " TORCH_VERSION
           ": build libbertrand_torch.so with the one it came with, by -DBERTRAND_TORCH_DIR=");
}

fs::path file_of(const char* library) {
  const fs::path file = find_torch_mlu(library);
  if (file.empty()) {
    fail(bertrand_torch_usage,
         "there is no libtorch_mlu.so, by which LibTorch knows MLU cards, neither in the package "
         "torch_mlu beside " +
             libtorch_folder().parent_path().string() +
             " nor in the site-packages of $VIRTUAL_ENV, $CONDA_PREFIX or python3; install "
             "Cambricon's torch_mlu, or " +
             kHowToGive);
  }
  if (std::error_code failed; !fs::exists(file, failed)) {
    fail(bertrand_torch_usage, file.string() + " is not there; " + kHowToGive);
  }
  if (std::error_code failed; fs::is_directory(file, failed)) {
    fail(bertrand_torch_usage, file.string() + " is a folder; " + kHowToGive);
  }
  return fs::absolute(file);  // with a slash in it dlopen takes a path as it is
}

/// Of the devices that the library has brought.
void take_name(const fs::path& file) {
  if (!c10::impl::hasDeviceGuardImpl(c10::kPrivateUse1)) {
    fail(bertrand_torch_failed, file.string() +
                                    " brings LibTorch no devices; it is not Cambricon's "
                                    "libtorch_mlu.so: " +
                                    kHowToGive);
  }
  try {
    c10::register_privateuse1_backend("mlu");  // in some versions only Python's part does so
  } catch (const std::exception& error) {
    fail(bertrand_torch_failed,
         file.string() + " has devices of another name (" + first_line(error) + "); " + kHowToGive);
  }
}

}  // namespace

void open_mlu(const char* library) {
  Opened& known = opened();
  const std::lock_guard<std::mutex> lock(known.mutex);
  if (known.handle != nullptr && library == nullptr) {
    return;
  }
  const fs::path file = file_of(library);
  if (known.handle != nullptr) {
    if (file != known.path) {
      fail(bertrand_torch_usage, known.path.string() + " is open already, so " + file.string() +
                                     " cannot be; give one of them alone");
    }
    return;
  }
  share_libtorch();
  Obstacle obstacle;
  void* handle = load_with_others(file, obstacle);
  if (handle == nullptr) {
    fail_to_load(file, obstacle);
  }
  take_name(file);
  known.handle = handle;
  known.path = file;
}

void* mlu_symbol(const char* name) {
  Opened& known = opened();
  const std::lock_guard<std::mutex> lock(known.mutex);
  return known.handle != nullptr ? ::dlsym(known.handle, name) : nullptr;
}

}  // namespace bertrand::plugin
