#include "engine/torch_plugin.h"

#include <cstdlib>
#include <dlfcn.h>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"

namespace bertrand {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFile = "libbertrand_torch.so";
constexpr const char* kHowToBuild =
    "build it (cmake -DBERTRAND_TORCH=ON, see docs/devices.md) or give its file by --torch-plugin "
    "or in $BERTRAND_TORCH_PLUGIN";

/// Where it may be: beside the program; in lib/ beside the program's folder, as it is built and
/// installed.
std::vector<fs::path> usual_places() {
  std::error_code failed;
  const fs::path program = fs::read_symlink("/proc/self/exe", failed);
  if (failed) {
    return {};
  }
  const fs::path folder = program.parent_path();
  return {folder / kFile, folder.parent_path() / "lib" / kFile,
          folder.parent_path() / BERTRAND_INSTALL_LIBDIR / kFile};
}

/// Empty where none is found and none was named.
fs::path find_plugin(const fs::path& file) {
  if (!file.empty()) {
    return file;
  }
  const char* set = std::getenv("BERTRAND_TORCH_PLUGIN");
  if (set != nullptr && *set != '\0') {
    return set;
  }
  for (const fs::path& place : usual_places()) {
    if (is_there(place)) {
      return place;
    }
  }
  return {};
}

void* load(const fs::path& file) {
  // With a slash in it dlopen takes a path as it is.
  void* library = ::dlopen(fs::absolute(file).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = ::dlerror();
    throw Error(ErrorCode::runtime,
                file.string() + ": cannot be loaded (" +
                    (why != nullptr ? why : "no reason given") +
                    "). Where it lacks a library, its LibTorch was moved or removed, or is of "
                    "another version: build it again, or set LD_LIBRARY_PATH to LibTorch's folder "
                    "lib.");
  }
  return library;
}

}  // namespace

bool TorchPlugin::is_expected(const fs::path& file) { return !find_plugin(file).empty(); }

std::shared_ptr<const TorchPlugin> TorchPlugin::open(const fs::path& file) {
  const fs::path found = find_plugin(file);
  if (found.empty()) {
    throw Error(ErrorCode::usage, std::string("There is no ") + kFile +
                                      ", which computes through LibTorch; " + kHowToBuild + ".");
  }
  if (!is_there(found)) {
    throw Error(ErrorCode::usage, found.string() + ": is not there; " + kHowToBuild + ".");
  }
  if (std::error_code failed; fs::is_directory(found, failed)) {
    throw Error(ErrorCode::usage, found.string() + ": is a folder; " + kHowToBuild + ".");
  }
  using Getter = const BertrandTorchTable* (*)(uint32_t);
  const auto get = reinterpret_cast<Getter>(::dlsym(load(found), "bertrand_torch_table"));
  if (get == nullptr) {
    throw Error(ErrorCode::runtime,
                found.string() + ": is not a plug-in of Bertrand; give " + kFile + ".");
  }
  const BertrandTorchTable* table = get(kBertrandTorchVersion);
  if (table == nullptr || table->version != kBertrandTorchVersion ||
      table->size < sizeof(BertrandTorchTable)) {
    throw Error(
        ErrorCode::runtime,
        found.string() + ": is of another version than this program; build both from one source.");
  }
  return std::make_shared<const TorchPlugin>(TorchPlugin(found, *table));
}

void TorchPlugin::check(int32_t status) const {
  if (status != bertrand_torch_ok) {
    throw Error(status == bertrand_torch_usage       ? ErrorCode::usage
                : status == bertrand_torch_elsewhere ? ErrorCode::elsewhere
                                                     : ErrorCode::runtime,
                table_->last_error());
  }
}

}  // namespace bertrand
