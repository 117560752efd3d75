#include "checkpoint/pickle.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "checkpoint/torch_gather.h"
#include "checkpoint/torch_state.h"

/// Any bytes are either refused with an Error or describe tensors that lie within their storages.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<std::byte> storage(1 << 12);
  try {
    bertrand::Cursor cursor(std::as_bytes(std::span(data, size)), "fuzz");
    const auto objects = bertrand::PickledObjects::parse(cursor, "fuzz");
    const auto state = bertrand::find_state(
        objects, "fuzz", [](const std::string&) { return storage.size(); }, storage.size());
    for (size_t i = 0; i < state.infos.size(); ++i) {
      const auto& info = state.infos[i];
      const auto& tensor = state.tensors[i];
      if (tensor.begin > tensor.end || tensor.end > storage.size()) std::abort();
      const auto bytes = std::span(storage).subspan(tensor.begin, tensor.end - tensor.begin);
      if (is_contiguous(info, tensor) && bytes.size() != info.bytes()) std::abort();
      std::vector<std::byte> out(info.bytes());
      gather(info, tensor, bytes, /*big_endian=*/true, out);
      size_t parts = 0;
      gather_parts(info, tensor, bytes, /*big_endian=*/true,
                   [&](std::span<const std::byte> part) { parts += part.size(); });
      if (parts != out.size()) std::abort();
    }
  } catch (const bertrand::Error&) {
  }
  return 0;
}
