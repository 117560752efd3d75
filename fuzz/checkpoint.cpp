#include "checkpoint/checkpoint.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <unistd.h>

#include "base/error.h"
#include "read_all.h"

/// A file of any bytes is either refused with an Error or read, each tensor with the bytes of its
/// shape.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string path = "/dev/shm/bertrand-fuzz-" + std::to_string(::getpid());
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) std::abort();
  std::fwrite(data, 1, size, file);
  std::fclose(file);
  try {
    bertrand::fuzz::read_all(*bertrand::open_checkpoint(path));
  } catch (const bertrand::Error&) {
  }
  std::remove(path.c_str());
  return 0;
}
