#include "checkpoint/sharded.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unistd.h>

#include "base/error.h"
#include "base/files.h"
#include "read_all.h"

/// An index and two files of weights of any bytes are either refused with an Error or read.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::filesystem::path folder =
      "/dev/shm/bertrand-fuzz-sharded-" + std::to_string(::getpid());
  std::filesystem::create_directory(folder);
  std::string_view input(reinterpret_cast<const char*>(data), size);
  for (const char* name : {"index.json", "1", "2"}) {
    bertrand::write_file(folder / name, bertrand::fuzz::next_file(input));
  }
  try {
    bertrand::fuzz::read_all(*bertrand::open_sharded(folder / "index.json"));
  } catch (const bertrand::Error&) {
  }
  std::filesystem::remove_all(folder);
  return 0;
}
