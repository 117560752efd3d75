#include <algorithm>
#include <fstream>
#include <set>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shared_data.h"

namespace bertrand {
namespace {

using Json = nlohmann::json;

Json sample(const char* name) {
  std::ifstream file(test::source_folder() / "data" / "sample" / name);
  return Json::parse(file);
}

/// UTF-8 as code points, which SQuAD counts in.
std::u32string code_points(const std::string& text) {
  std::u32string points;
  for (const char byte : text) {
    const auto value = static_cast<unsigned char>(byte);
    if (value < 0x80) {
      points.push_back(value);
    } else if (value >= 0xC0) {
      points.push_back(value & (value >= 0xE0 ? 0x0FU : 0x1FU));
    } else {
      points.back() = (points.back() << 6) | (value & 0x3FU);
    }
  }
  return points;
}

size_t words(const std::string& text) {
  return 1 + static_cast<size_t>(std::count(text.begin(), text.end(), ' '));
}

struct Counts {
  size_t paragraphs = 0;
  size_t questions = 0;
};

/// Checks one file and counts; each question has between `fewest` and `most` answers.
Counts check(const char* name, size_t fewest, size_t most, std::set<std::string>& ids) {
  Counts counts;
  const Json file = sample(name);
  for (const Json& article : file.at("data")) {
    EXPECT_FALSE(article.at("title").get<std::string>().empty());
    for (const Json& paragraph : article.at("paragraphs")) {
      ++counts.paragraphs;
      const auto context = paragraph.at("context").get<std::string>();
      const std::u32string points = code_points(context);
      EXPECT_GE(words(context), 80U) << article.at("title");
      EXPECT_LE(words(context), 180U) << article.at("title");
      for (const Json& question : paragraph.at("qas")) {
        ++counts.questions;
        const auto id = question.at("id").get<std::string>();
        EXPECT_TRUE(ids.insert(id).second) << id << " comes twice";
        EXPECT_EQ(question.at("question").get<std::string>().back(), '?') << id;
        const Json& answers = question.at("answers");
        EXPECT_GE(answers.size(), fewest) << id;
        EXPECT_LE(answers.size(), most) << id;
        for (const Json& answer : answers) {
          const std::u32string text = code_points(answer.at("text").get<std::string>());
          EXPECT_FALSE(text.empty()) << id;
          EXPECT_EQ(points.substr(answer.at("answer_start").get<size_t>(), text.size()), text)
              << id;
        }
      }
    }
  }
  return counts;
}

TEST(Sample, IsSquadOfVersion11WithTrueSpans) {
  std::set<std::string> ids;
  const Counts train = check("train.json", /*fewest=*/1, /*most=*/1, ids);
  const Counts dev = check("dev.json", /*fewest=*/2, /*most=*/3, ids);
  EXPECT_EQ(train.paragraphs, 13U);
  EXPECT_EQ(train.questions, 91U);
  EXPECT_EQ(dev.paragraphs, 5U);
  EXPECT_EQ(dev.questions, 30U);
  EXPECT_EQ(sample("train.json").at("version"), "1.1");
  EXPECT_EQ(sample("dev.json").at("version"), "1.1");
}

}  // namespace
}  // namespace bertrand
