#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "checkpoint/tf_entries.h"

/// Any bytes are either refused with an Error or make an index.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto index =
        bertrand::read_tf_index(std::as_bytes(std::span(data, size)), "fuzz", /*check=*/false);
    for (const auto& [name, entry] : index.entries) {
      for (const auto& slice : entry.slices) {
        bertrand::slice_key(name, slice);
      }
    }
  } catch (const bertrand::Error&) {
  }
  return 0;
}
