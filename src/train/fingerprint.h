#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "engine/engine.h"
#include "squad/windows.h"

namespace bertrand {

/// Tells two runs apart that should be one: a 64-bit digest (FNV-1a's steps over 8 bytes at a
/// time). Not for security.
class Fingerprint {
 public:
  template <typename T>
  void add(std::span<const T> values) {
    add_bytes(std::as_bytes(values));
  }
  void add(uint64_t value) {
    state_ = (state_ ^ value) * 0x100000001b3U;
    state_ ^= state_ >> 32;
  }

  /// 16 hexadecimal digits.
  std::string text() const;

 private:
  void add_bytes(std::span<const std::byte> bytes);

  uint64_t state_ = 0xcbf29ce484222325U;
};

/// Of ids, segments and targets of all windows, in order.
std::string fingerprint_of(std::span<const Window> windows);

/// Of what the parameters begin with, and of the config.
std::string fingerprint_of(const BertConfig& config, const std::vector<ParameterInfo>& parameters,
                           const ParameterReader& read);

}  // namespace bertrand
