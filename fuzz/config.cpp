#include "model/config.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"

/// Any bytes are either refused with an Error or make a config that reads back as it is written.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto config = bertrand::BertConfig::from_json(
        std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
    const std::string text = config.to_json();
    if (bertrand::BertConfig::from_json(text, "again").to_json() != text) {
      std::abort();
    }
  } catch (const bertrand::Error&) {
  }
  return 0;
}
