#include "checkpoint/tf_bundle.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unistd.h>

#include "base/error.h"
#include "base/files.h"
#include "read_all.h"

/// An index and two data files of any bytes, checksums aside, are either refused with an Error or
/// read, each tensor with the bytes of its shape.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string prefix = "/dev/shm/bertrand-fuzz-bundle-" + std::to_string(::getpid());
  std::string_view input(reinterpret_cast<const char*>(data), size);
  for (const char* ending : {".index", ".data-00000-of-00002", ".data-00001-of-00002"}) {
    bertrand::write_file(prefix + ending, bertrand::fuzz::next_file(input));
  }
  try {
    bertrand::fuzz::read_all(*bertrand::open_tf_bundle(prefix, /*check=*/false));
  } catch (const bertrand::Error&) {
  }
  for (const char* ending : {".index", ".data-00000-of-00002", ".data-00001-of-00002"}) {
    std::filesystem::remove(prefix + ending);
  }
  return 0;
}
