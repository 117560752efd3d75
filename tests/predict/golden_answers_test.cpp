// Answers from PyTorch's logits against the reference's answers, without an engine.
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "shared_data.h"
#include "squad/answers.h"
#include "squad/dataset.h"
#include "squad/windows.h"
#include "text/python_text.h"

namespace bertrand {
namespace {

constexpr const char* kWindows = "data/golden/minilm/dev-first-200-windows.safetensors";

template <typename T>
std::vector<T> values_of(const TensorFile& file, const std::string& name) {
  const TensorView& tensor = *file.find(name);
  std::vector<T> values(tensor.bytes.size() / sizeof(T));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

nlohmann::json read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

/// The stored windows, and the data they were made of.
class GoldenAnswers : public testing::Test {
 protected:
  void SetUp() override {
    BERTRAND_NEEDS_SHARED(kWindows);
    shared_ = test::shared_folder();
    dataset_ = Dataset::load(shared_ / "data/squad/dev-v1.1.json");
    dataset_.examples.resize(300);
    auto vocabulary = std::make_shared<const Vocabulary>(
        Vocabulary::load(shared_ / "models/minilm-squad-reference/vocab.txt"));
    TokenizerOptions options;
    options.behaviour = TokenizerOptions::Behaviour::reference;
    tokenizer_ = std::make_unique<Tokenizer>(vocabulary, options);
    windows_ = make_windows(dataset_, *tokenizer_, WindowOptions(), 1);
    const SafetensorsFile file = SafetensorsFile::open(shared_ / kWindows);
    ids_ = values_of<int32_t>(file, "input_ids");
    offsets_ = values_of<int32_t>(file, "offsets");
    start_ = values_of<float>(file, "start_logits");
    end_ = values_of<float>(file, "end_logits");
  }

  size_t stored() const { return offsets_.size() - 1; }

  WindowLogits logits_of(size_t window) const {
    const auto begin = static_cast<size_t>(offsets_[window]);
    const auto length = static_cast<size_t>(offsets_[window + 1]) - begin;
    return {windows_[window], std::span(start_).subspan(begin, length),
            std::span(end_).subspan(begin, length)};
  }

  /// The logits of each question that has all its windows stored, in order.
  std::vector<std::vector<WindowLogits>> questions() const {
    std::vector<std::vector<WindowLogits>> questions;
    for (size_t i = 0; i < stored(); ++i) {
      if (windows_[i].index == 0) questions.emplace_back();
      questions.back().push_back(logits_of(i));
    }
    if (windows_.size() > stored() && windows_[stored()].index != 0) questions.pop_back();
    return questions;
  }

  std::filesystem::path shared_;
  Dataset dataset_;
  std::unique_ptr<Tokenizer> tokenizer_;
  WindowSet windows_;
  std::vector<int32_t> ids_, offsets_;
  std::vector<float> start_, end_;
};

TEST_F(GoldenAnswers, WindowsAreTheStoredOnes) {
  ASSERT_GE(windows_.size(), stored());
  for (size_t i = 0; i < stored(); ++i) {
    const auto begin = ids_.begin() + offsets_[i];
    const std::vector<int32_t> expected(begin, ids_.begin() + offsets_[i + 1]);
    const std::span<const int32_t> made = windows_[i].ids;
    ASSERT_EQ(std::vector<int32_t>(made.begin(), made.end()), expected) << i;
  }
}

TEST_F(GoldenAnswers, AreTheReferences) {
  const auto n_best = read_json(shared_ / "data/golden/minilm/nbest_predictions-first300.json");
  const auto best = read_json(shared_ / "data/golden/minilm/predictions.json");
  size_t compared = 0;
  for (const std::vector<WindowLogits>& logits : questions()) {
    const Example& example = dataset_.examples[logits.front().window.example];
    SCOPED_TRACE(example.id);
    const Prediction prediction =
        answer_question(dataset_, example, logits, *tokenizer_, AnswerOptions());
    EXPECT_EQ(prediction.text, best.at(example.id).get<std::string>());
    const auto& expected = n_best.at(example.id);
    ASSERT_EQ(prediction.n_best.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      const Candidate& candidate = prediction.n_best[i];
      EXPECT_EQ(candidate.text, expected[i].at("text").get<std::string>()) << i;
      EXPECT_EQ(candidate.start_logit, expected[i].at("start_logit").get<float>()) << i;
      EXPECT_EQ(candidate.end_logit, expected[i].at("end_logit").get<float>()) << i;
      EXPECT_NEAR(candidate.probability, expected[i].at("probability").get<double>(), 1e-14) << i;
    }
    ++compared;
  }
  EXPECT_GE(compared, 150u);
}

TEST_F(GoldenAnswers, StandWhereTheySay) {
  for (const std::vector<WindowLogits>& logits : questions()) {
    const Example& example = dataset_.examples[logits.front().window.example];
    const Prediction prediction =
        answer_question(dataset_, example, logits, *tokenizer_, AnswerOptions());
    const std::u32string context = code_points(dataset_.context(example));
    for (const Candidate& candidate : prediction.n_best) {
      ASSERT_LT(candidate.begin, candidate.end);
      ASSERT_LE(candidate.end, context.size());
      const size_t length = candidate.end - candidate.begin;
      EXPECT_EQ(candidate.text, to_utf8(context.substr(candidate.begin, length)));
    }
  }
}

}  // namespace
}  // namespace bertrand
