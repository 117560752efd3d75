#include "base/small_json.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"

namespace bertrand {
namespace {

using nlohmann::json;

constexpr int kMostDepth = 64;
constexpr size_t kMostBytes = 1 << 20;

}  // namespace

json parse_json_object(std::string_view text, const std::string& where, const std::string& remedy) {
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorCode::bad_input, fmt::format("{}: {}; {}.", where, what, remedy));
  };
  const auto check_depth = [&](int depth, json::parse_event_t event, const json&) {
    const bool opens =
        event == json::parse_event_t::object_start || event == json::parse_event_t::array_start;
    if (opens && depth >= kMostDepth) {
      fail(fmt::format("its lists and objects lie more than {} deep in one another", kMostDepth));
    }
    return true;
  };
  json value;
  try {
    value = json::parse(text, check_depth);
  } catch (const json::parse_error& error) {
    fail(fmt::format("is not valid JSON at byte {}", error.byte));
  } catch (const json::exception&) {  // a number beyond double
    fail("holds a number that is too large");
  }
  if (!value.is_object()) fail("must be one JSON object");
  return value;
}

json read_json_object(const std::filesystem::path& path, const std::string& remedy) {
  return parse_json_object(read_description(path), path.string(), remedy);
}

std::string read_description(const std::filesystem::path& path) {
  const MappedFile file(path);
  if (file.bytes().size() > kMostBytes) {
    throw Error(ErrorCode::bad_input,
                fmt::format("{}: has {} bytes; a description of a model has less than {}.",
                            path.string(), file.bytes().size(), kMostBytes));
  }
  return std::string(file.text());
}

}  // namespace bertrand
