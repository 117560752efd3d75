#include "base/small_json.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace bertrand {
namespace {

using ::testing::HasSubstr;

std::string refusal(const std::string& text) {
  try {
    parse_json_object(text, "folder/x.json", "mend it");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    return error.what();
  }
  return "";
}

std::string nested(size_t depth) {
  return R"({"a":)" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
}

TEST(SmallJson, ReadsAnObject) {
  const auto object = parse_json_object(R"({"a": [1, {"b": null}], "c": 0.5})", "x", "mend it");
  EXPECT_EQ(object.at("a").at(0), 1);
  EXPECT_EQ(object.at("c"), 0.5);
}

TEST(SmallJson, SaysWhatIsWrongAndWhatToDo) {
  EXPECT_EQ(refusal("{\"a\": 1,}"), "folder/x.json: is not valid JSON at byte 9; mend it.");
  EXPECT_EQ(refusal(""), "folder/x.json: is not valid JSON at byte 1; mend it.");
  EXPECT_EQ(refusal("[]"), "folder/x.json: must be one JSON object; mend it.");
  EXPECT_EQ(refusal("{\"a\": 1e999}"), "folder/x.json: holds a number that is too large; mend it.");
  EXPECT_THAT(refusal("{\"\xff\": 1}"), HasSubstr("is not valid JSON"));
}

TEST(SmallJson, RefusesWhatIsDeep) {
  EXPECT_EQ(refusal(nested(64)), "");
  EXPECT_THAT(refusal(nested(65)), HasSubstr("lie more than 64 deep in one another; mend it."));
  EXPECT_THAT(refusal(nested(1'000'000)), HasSubstr("64 deep"));
  EXPECT_THAT(refusal(std::string(1'000'000, '{')), HasSubstr("is not valid JSON at byte 2"));
}

}  // namespace
}  // namespace bertrand
