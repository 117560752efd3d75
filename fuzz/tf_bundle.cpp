#include "checkpoint/tf_bundle.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

#include "base/error.h"
#include "base/files.h"

namespace {

/// The next file of an input: its length in four bytes, then so many, or what is left.
std::string_view next_file(std::string_view& input) {
  uint32_t length = 0;
  const size_t known = std::min(input.size(), sizeof length);
  std::memcpy(&length, input.data(), known);
  input.remove_prefix(known);
  const std::string_view file = input.substr(0, length);
  input.remove_prefix(file.size());
  return file;
}

}  // namespace

/// An index and two data files of any bytes, checksums aside, are either refused with an Error or
/// read, each tensor with the bytes of its shape.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string prefix = "/dev/shm/bertrand-fuzz-bundle-" + std::to_string(::getpid());
  std::string_view input(reinterpret_cast<const char*>(data), size);
  for (const char* ending : {".index", ".data-00000-of-00002", ".data-00001-of-00002"}) {
    bertrand::write_file(prefix + ending, next_file(input));
  }
  try {
    const auto checkpoint = bertrand::open_tf_bundle(prefix, /*check=*/false);
    std::vector<std::byte> buffer;
    for (size_t i = 0; i < checkpoint->tensors().size(); ++i) {
      try {
        if (checkpoint->read(i, buffer).size() != checkpoint->tensors()[i].bytes()) std::abort();
      } catch (const bertrand::Error&) {
      }
    }
  } catch (const bertrand::Error&) {
  }
  for (const char* ending : {".index", ".data-00000-of-00002", ".data-00001-of-00002"}) {
    std::filesystem::remove(prefix + ending);
  }
  return 0;
}
