#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <unistd.h>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/vocabulary_file.h"

/// Any bytes are either refused with an Error or give lines, none of them empty.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::filesystem::path folder =
      "/dev/shm/bertrand-fuzz-tokenizer-" + std::to_string(::getpid());
  std::filesystem::create_directory(folder);
  bertrand::write_file(folder / "tokenizer.json",
                       std::string_view(reinterpret_cast<const char*>(data), size));
  try {
    bertrand::normalizer_lower_case(folder);
    const std::string text = bertrand::read_vocabulary(bertrand::find_vocabulary(folder));
    if (text.starts_with('\n') || text.find("\n\n") != std::string::npos) std::abort();
    if (!text.empty() && text.back() != '\n') std::abort();
  } catch (const bertrand::Error&) {
  }
  std::filesystem::remove_all(folder);
  return 0;
}
