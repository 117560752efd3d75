// What the targets of whole checkpoints have in common.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "checkpoint/checkpoint.h"

namespace bertrand::fuzz {

/// The next file of an input of several: its length in four bytes, then so many, or what is left.
inline std::string_view next_file(std::string_view& input) {
  uint32_t length = 0;
  const size_t known = std::min(input.size(), sizeof length);
  std::memcpy(&length, input.data(), known);
  input.remove_prefix(known);
  const std::string_view file = input.substr(0, length);
  input.remove_prefix(file.size());
  return file;
}

/// Each tensor is refused with an Error, or has the bytes of its shape, whole and in parts.
inline void read_all(const Checkpoint& checkpoint) {
  std::vector<std::byte> buffer;
  for (size_t i = 0; i < checkpoint.tensors().size(); ++i) {
    const size_t bytes = checkpoint.tensors()[i].bytes();
    try {
      if (checkpoint.read(i, buffer).size() != bytes) std::abort();
      size_t parts = 0;
      checkpoint.read_parts(i, [&](std::span<const std::byte> part) { parts += part.size(); });
      if (parts != bytes) std::abort();
    } catch (const Error&) {
    }
  }
}

}  // namespace bertrand::fuzz
