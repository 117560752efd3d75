#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace bertrand {

/// CRC-32C (Castagnoli polynomial 0x1EDC6F41), by the processor's instruction where it has one.
/// Source: RFC 3720, appendix B.4. Debian has no C++ library of it.
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t before = 0);

/// As TensorFlow and LevelDB store it. Source: tensorflow/core/lib/hash/crc32c.h.
inline uint32_t masked_crc32c(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8U; }

}  // namespace bertrand
