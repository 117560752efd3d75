#include "squad/json_fault.h"

#include <algorithm>
#include <cstddef>

#include <nlohmann/json.hpp>

namespace bertrand {
namespace {

using nlohmann::json;

/// Keeps nothing of a text but its first fault.
class FaultFinder : public nlohmann::json_sax<json> {
 public:
  bool found = false;
  size_t bytes_read = 0;
  std::string reason;

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(size_t) override { return true; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }

  bool parse_error(size_t position, const std::string&, const json::exception& error) override {
    found = true;
    bytes_read = position;
    reason = error.what();
    return false;
  }
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
  json::sax_parse(json_text.begin(), json_text.end(), &finder);
  if (!finder.found) return std::string(refused);
  const size_t byte =
      std::clamp<size_t>(finder.bytes_read, 1, std::max<size_t>(1, json_text.size()));
  const std::string_view before = json_text.substr(0, byte - 1);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  return "line " + std::to_string(line) + ", byte " + std::to_string(byte) +
         " of the file: " + std::string(without_place(finder.reason));
}

}  // namespace bertrand
