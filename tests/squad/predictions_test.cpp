#include "squad/predictions.h"

#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/temporary_folder.h"

namespace bertrand {
namespace {

class PredictionsFile : public testing::Test {
 protected:
  PredictionsFile() {
    for (const char* id : {"2", "1"}) dataset_.examples.emplace_back().id = id;
    predictions_.resize(2);
  }

  using Write = void (*)(AtomicFile&, const Dataset&, std::span<const Prediction>);
  std::string written(Write write) {
    AtomicFile file(path_);
    write(file, dataset_, predictions_);
    file.commit();
    std::ifstream stream(path_);
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  std::filesystem::path with(const std::string& text) {
    std::ofstream(path_) << text;
    return path_;
  }

  test::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "file.json";
  Dataset dataset_;
  std::vector<Prediction> predictions_;
};

TEST_F(PredictionsFile, HoldsTheAnswersInTheOrderOfTheData) {
  predictions_[0].text = "Łódź \"x\"\n";
  EXPECT_EQ(written(write_predictions),
            "{\n    \"2\": \"\\u0141\\u00f3d\\u017a \\\"x\\\"\\n\",\n    \"1\": \"\"\n}\n");
}

TEST_F(PredictionsFile, HoldsNoQuestions) {
  dataset_.examples.clear();
  predictions_.clear();
  EXPECT_EQ(written(write_predictions), "{}\n");
}

TEST_F(PredictionsFile, HoldsTheBestAnswersOfEach) {
  predictions_[0].n_best.resize(2);
  predictions_[0].n_best[0] = {"x", 0.75, 5.475609302520752f, -1, 0, 0};
  predictions_[0].n_best[1] = {"y", 1e-5, 100, 0.1f, 0, 0};
  predictions_[1].n_best.resize(1);
  EXPECT_EQ(written(write_n_best), R"({
    "2": [
        {
            "text": "x",
            "probability": 0.75,
            "start_logit": 5.475609302520752,
            "end_logit": -1.0
        },
        {
            "text": "y",
            "probability": 1e-05,
            "start_logit": 100.0,
            "end_logit": 0.10000000149011612
        }
    ],
    "1": [
        {
            "text": "",
            "probability": 0.0,
            "start_logit": 0.0,
            "end_logit": 0.0
        }
    ]
}
)");
}

TEST_F(PredictionsFile, WritesNumbersAsPythonDoes) {
  const std::vector<std::pair<double, std::string>> numbers = {
      {0.1, "0.1"},
      {-0.0, "-0.0"},
      {1e15, "1000000000000000.0"},
      {1e16, "1e+16"},
      {0.0001, "0.0001"},
      {0.00012345, "0.00012345"},
      {0.000012345, "1.2345e-05"},
      {1.5e-300, "1.5e-300"},
      {1.0 / 3, "0.3333333333333333"},
      {std::numeric_limits<double>::infinity(), "Infinity"}};
  for (const auto& [number, text] : numbers) {
    predictions_[0].no_answer_score = number;
    EXPECT_EQ(written(write_no_answer_scores), "{\n    \"2\": " + text + ",\n    \"1\": 0.0\n}\n");
  }
}

TEST_F(PredictionsFile, IsReadBack) {
  predictions_[0].text = "Łódź";
  written(write_predictions);
  EXPECT_THAT(read_predictions(path_),
              testing::UnorderedElementsAre(testing::Pair("2", "Łódź"), testing::Pair("1", "")));
  predictions_[0].no_answer_score = -1.25;
  written(write_no_answer_scores);
  EXPECT_EQ(read_no_answer_scores(path_).at("2"), -1.25);
}

TEST_F(PredictionsFile, IsRefusedWithTheReason) {
  const auto message = [](auto read) -> std::string {
    try {
      read();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_input);
      return error.what();
    }
    return "no error";
  };
  const auto answers = [&] { read_predictions(path_); };
  with(R"({"1": "x", })");
  EXPECT_THAT(message(answers),
              testing::HasSubstr("file.json: is not JSON: line 1, byte 12 of the file: "));
  with("{\"1\":\n 1e999}");
  EXPECT_THAT(message(answers), testing::HasSubstr("file.json: cannot be read: line 2, byte 12 of "
                                                   "the file: a number is too large"));
  with("[1]");
  EXPECT_THAT(message(answers), testing::HasSubstr("is not an object"));
  with(R"({"1": ["x"]})");
  EXPECT_THAT(message(answers), testing::HasSubstr("question 1 is not a string"));
  with(R"({"1": "x"})");
  EXPECT_THAT(message([&] { read_no_answer_scores(path_); }),
              testing::HasSubstr("question 1 is not a number"));
}

}  // namespace
}  // namespace bertrand
