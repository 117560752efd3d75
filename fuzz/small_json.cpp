#include "base/small_json.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/error.h"

/// Any bytes are either refused with an Error or make an object that can be copied and printed, and
/// is the same when it is read again.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto object = bertrand::parse_json_object(
        std::string_view(reinterpret_cast<const char*>(data), size), "fuzz", "mend it");
    const nlohmann::json copy(object);
    if (bertrand::parse_json_object(copy.dump(), "again", "mend it") != object) {
      std::abort();
    }
  } catch (const bertrand::Error&) {
  }
  return 0;
}
