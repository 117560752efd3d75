#include "checkpoint/safetensors.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "base/error.h"

/// Any bytes are either refused with an Error or hold tensors that lie inside them.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  try {
    const auto contents = bertrand::SafetensorsFile::parse(file, "fuzz");
    size_t bytes = 0;
    for (const bertrand::TensorView& tensor : contents.tensors) {
      bytes += tensor.bytes.size();
      const auto elements = static_cast<size_t>(tensor.size());
      if (elements * bertrand::bits_of(tensor.type) != tensor.bytes.size() * 8) {
        std::abort();
      }
      std::vector<float> values(elements);
      try {
        bertrand::to_f32(tensor, values);
      } catch (const bertrand::Error&) {  // whole numbers
      }
    }
    if (bytes > size) {
      std::abort();
    }
  } catch (const bertrand::Error&) {
  }
  return 0;
}
