#include "text/utf8.h"

namespace bertrand {

namespace {

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

}  // namespace

CodePoint decode_utf8(std::string_view text, size_t position) {
  const auto byte = [&](size_t offset) {
    return position + offset < text.size() ? static_cast<unsigned char>(text[position + offset])
                                           : 0u;
  };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  // The second byte's bounds shut out overlong forms, surrogates and what is above U+10FFFF.
  unsigned low = 0x80;
  unsigned high = 0xBF;
  uint32_t length = 0;
  char32_t value = 0;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
    value = lead & 0x1F;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    value = lead & 0x0F;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    value = lead & 0x07;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {kReplacementCharacter, 1, false};
  }
  for (uint32_t i = 1; i < length; ++i) {
    const unsigned next = byte(i);
    if (next < low || next > high) return {kReplacementCharacter, i, false};
    value = (value << 6) | (next & 0x3F);
    low = 0x80;
    high = 0xBF;
  }
  return {value, length, true};
}

CodePoint decode_utf8_before(std::string_view text, size_t position) {
  size_t begin = position - 1;
  while (begin > 0 && position - begin < 4 && is_continuation(text[begin])) --begin;
  const CodePoint found = decode_utf8(text, begin);
  if (found.valid && begin + found.length == position) return found;
  return {kReplacementCharacter, 1, false};
}

size_t find_invalid_utf8(std::string_view text) {
  for (size_t position = 0; position < text.size();) {
    const CodePoint found = decode_utf8(text, position);
    if (!found.valid) return position;
    position += found.length;
  }
  return std::string_view::npos;
}

uint32_t encode_utf8(char32_t code_point, char* out) {
  const auto tail = [&](int shift) {
    return static_cast<char>(0x80 | ((code_point >> shift) & 0x3F));
  };
  if (code_point < 0x80) {
    out[0] = static_cast<char>(code_point);
    return 1;
  }
  if (code_point < 0x800) {
    out[0] = static_cast<char>(0xC0 | (code_point >> 6));
    out[1] = tail(0);
    return 2;
  }
  if (code_point < 0x10000) {
    out[0] = static_cast<char>(0xE0 | (code_point >> 12));
    out[1] = tail(6);
    out[2] = tail(0);
    return 3;
  }
  out[0] = static_cast<char>(0xF0 | (code_point >> 18));
  out[1] = tail(12);
  out[2] = tail(6);
  out[3] = tail(0);
  return 4;
}

}  // namespace bertrand
