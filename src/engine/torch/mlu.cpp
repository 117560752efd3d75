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

/// Libraries it may need that a Python process would have loaded are loaded before a second try: no
/// interpreter is started.
void* load_with_others(const fs::path& file, std::string& why) {
  std::string ignored;
  void* handle = load(file, why);
  if (handle == nullptr && has(why, "libtorch.so")) {
    load(libtorch_folder() / "libtorch.so", ignored);
    handle = load(file, why);
  }
  if (handle == nullptr && (has(why, "undefined symbol") || has(why, "python"))) {
    for (const fs::path& library : python_libraries(file)) {
      load(library, ignored);
    }
    handle = load(file, why);
  }
  return handle;
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
  std::string why;
  void* handle = load_with_others(file, why);
  if (handle == nullptr) {
    fail(bertrand_torch_failed,
         file.string() + " cannot be loaded (" + why +
             "). Where a library is missing, set LD_LIBRARY_PATH to $NEUWARE_HOME/lib64; where a "
             "symbol is, it was made for another LibTorch than " TORCH_VERSION
             ": build libbertrand_torch.so with the one it came with, by -DBERTRAND_TORCH_DIR=");
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
