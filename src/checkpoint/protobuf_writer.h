#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace bertrand {

/// Builds a message field by field. Source: Protocol Buffers, "Encoding".
class ProtobufWriter {
 public:
  void number(uint32_t field, uint64_t value) {
    varint(uint64_t{field} << 3);
    varint(value);
  }
  void real(uint32_t field, float value) {
    varint(uint64_t{field} << 3 | 5);
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    text_.append(bytes, sizeof value);
  }
  /// A text, or a message that is complete.
  void text(uint32_t field, std::string_view value) {
    begin(field, value.size());
    text_ += value;
  }
  void message(uint32_t field, const ProtobufWriter& value) { text(field, value.text_); }

  /// What stands before a text or message of `size` bytes, which then follow.
  void begin(uint32_t field, uint64_t size) {
    varint(uint64_t{field} << 3 | 2);
    varint(size);
  }

  const std::string& result() const { return text_; }

 private:
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) {
      text_ += static_cast<char>(value | 0x80);
    }
    text_ += static_cast<char>(value);
  }

  std::string text_;
};

}  // namespace bertrand
