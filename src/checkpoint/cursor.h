#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace bertrand {

/// Reads numbers and bytes one after the other from a part of a file that is not trusted. Throws
/// Error (bad_input) naming the file and the place where they end too early.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, std::string where, size_t place = 0)
      : bytes_(bytes), where_(std::move(where)), place_(place) {}

  size_t left() const { return bytes_.size() - at_; }
  bool at_end() const { return at_ == bytes_.size(); }
  size_t at() const { return place_ + at_; }  ///< place in the file, for messages

  std::span<const std::byte> take(uint64_t count) {
    if (count > left()) {
      fail("ends where " + std::to_string(count) + " more bytes should be");
    }
    const auto taken = bytes_.subspan(at_, static_cast<size_t>(count));
    at_ += static_cast<size_t>(count);
    return taken;
  }

  std::string_view text(uint64_t count) {
    const auto taken = take(count);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }

  /// Little-endian.
  template <std::integral Number>
  Number number() {
    Number value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  uint8_t byte() { return number<uint8_t>(); }

  /// Seven bits a byte, the lowest first, the high bit set in all but the last. Source: Protocol
  /// Buffers, "Encoding".
  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const uint64_t part = byte();
      if (shift == 63 && part > 1) {
        break;
      }
      value |= (part & 0x7f) << shift;
      if (part < 0x80) {
        return value;
      }
    }
    fail("holds a number that is too long");
  }

  /// The bytes up to the next line feed, which is taken too.
  std::string_view line() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + at_, left());
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) {
      fail("ends in the middle of a line");
    }
    at_ += end + 1;
    return rest.substr(0, end);
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::bad_input, where_ + ": " + what + " (byte " + std::to_string(at()) +
                                          "); the file is damaged.");
  }

 private:
  std::span<const std::byte> bytes_;
  std::string where_;
  size_t place_;
  size_t at_ = 0;
};

}  // namespace bertrand
