#include "squad/json_fault.h"

#include <algorithm>
#include <cstddef>
#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <simdjson.h>

namespace bertrand {
namespace {

using nlohmann::json;

/// Reads a text and tells how far the reader came, which looks at most one byte ahead.
class CountedByte {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountedByte(const char* at, size_t* read) : at_(at), read_(read) {}
  reference operator*() const { return *at_; }
  CountedByte& operator++() {
    ++at_;
    ++*read_;
    return *this;
  }
  CountedByte operator++(int) {
    const CountedByte before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountedByte& other) const { return at_ == other.at_; }
  bool operator!=(const CountedByte& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  size_t* read_;
};

/// Keeps nothing of a text but why it is refused: its first fault, or else the first thing in it
/// that is JSON and yet more than is read.
class FaultFinder : public nlohmann::json_sax<json> {
 public:
  bool is_json = true;
  size_t byte = 0;  // counted from 1; 0 where nothing is wrong
  std::string reason;
  size_t read = 0;  // bytes, so far

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t& text) override {
    // Whole numbers come here where they are beyond 64 bits. One byte behind the number is read.
    const bool is_whole = text.find_first_of(".eE") == std::string::npos;
    return !is_whole || note("a whole number is beyond 64 bits", read - text.size());
  }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(size_t) override { return open(); }
  bool key(string_t&) override { return true; }
  bool end_object() override { return close(); }
  bool start_array(size_t) override { return open(); }
  bool end_array() override { return close(); }

  bool parse_error(size_t position, const std::string&, const json::exception& error) override {
    constexpr int kNumberOutOfRange = 406;
    if (error.id == kNumberOutOfRange) {
      note("a number is too large for any computer", position);
    } else {
      is_json = false;
      byte = std::max<size_t>(position, 1);
      reason = error.what();
    }
    return false;
  }

 private:
  bool open() {
    return ++depth_ < simdjson::DEFAULT_MAX_DEPTH ||
           note(fmt::format("lists and objects lie {} deep in one another", depth_), read);
  }
  bool close() {
    --depth_;
    return true;
  }
  bool note(const std::string& what, size_t where) {
    if (byte == 0) {
      byte = where;
      reason = what;
    }
    return true;
  }

  size_t depth_ = 0;
};

/// What the library says, without its own account of the place and without the text it read last,
/// which may be long.
std::string_view without_place(std::string_view reason) {
  for (const std::string_view before : {": ", "syntax error ", "- "}) {
    if (const size_t at = reason.find(before); at != std::string_view::npos) {
      reason.remove_prefix(at + before.size());
    }
  }
  return reason.substr(0, reason.find("; last read"));
}

}  // namespace

std::string describe_json_fault(std::string_view json_text, std::string_view refused) {
  FaultFinder finder;
  json::sax_parse(CountedByte(json_text.data(), &finder.read),
                  CountedByte(json_text.data() + json_text.size(), &finder.read), &finder);
  if (finder.byte == 0) return fmt::format("cannot be read: {}; give another file", refused);
  const size_t byte = std::min(finder.byte, std::max<size_t>(1, json_text.size()));
  const std::string_view before = json_text.substr(0, byte - 1);
  return fmt::format("{}: line {}, byte {} of the file: {}; mend the file there",
                     finder.is_json ? "cannot be read" : "is not JSON",
                     1 + std::count(before.begin(), before.end(), '\n'), byte,
                     without_place(finder.reason));
}

}  // namespace bertrand
