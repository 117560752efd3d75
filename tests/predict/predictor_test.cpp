#include "predict/predictor.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace bertrand {
namespace {

/// Scores a token by its id and its place in the window, whatever else is in the batch.
class ScoringEngine : public Engine {
 public:
  ScoringEngine() { config_.max_position_embeddings = 64; }

  SpanLogits forward(const PackedBatch& batch) override {
    SpanLogits logits;
    for (size_t window = 0; window < batch.windows(); ++window) {
      for (size_t place = 0; place < batch.length(window); ++place) {
        const auto token = static_cast<size_t>(batch.offsets[window]) + place;
        const double seed = batch.ids[token] * 7.1 + static_cast<double>(place) * 1.3;
        logits.start.push_back(static_cast<float>(std::sin(seed)));
        logits.end.push_back(static_cast<float>(std::cos(seed * 1.7)));
      }
    }
    lengths_.push_back(batch.tokens());
    windows_.push_back(batch.windows());
    return logits;
  }

  const BertConfig& config() const override { return config_; }
  const std::vector<ParameterInfo>& parameters() const override { return parameters_; }
  void load_parameters(const ParameterReader&) override {}
  void store_parameters(const ParameterWriter&) const override {}
  double backward(const PackedBatch&, const SpanTargets&, const Dropout&, double) override {
    return 0;
  }
  void reduce_gradients(ProcessGroup&) override {}
  void store_gradients(const ParameterWriter&) const override {}
  StepReport step(double, const OptimizerSettings&) override { return {}; }
  uint64_t steps() const override { return 0; }
  void store_moments(Moment, const ParameterWriter&) const override {}
  void load_moments(Moment, const ParameterReader&, uint64_t) override {}

  const std::vector<size_t>& lengths() const { return lengths_; }
  const std::vector<size_t>& windows() const { return windows_; }

 private:
  BertConfig config_;
  std::vector<ParameterInfo> parameters_;
  std::vector<size_t> lengths_, windows_;  // of each batch
};

class PredictorTest : public testing::Test {
 protected:
  PredictorTest() {
    auto vocabulary = std::make_shared<const Vocabulary>(Vocabulary::parse(
        "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nd\ne\nf\ng\nh\nwho\n", "pieces"));
    tokenizer_ = std::make_unique<Tokenizer>(vocabulary, TokenizerOptions());
    options_.windows.max_seq_length = 24;
    options_.windows.doc_stride = 8;
  }

  /// Questions about texts of different lengths, each text for two questions.
  void add_questions(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      if (i % 2 == 0) {
        std::string text;
        for (size_t word = 0; word < 1 + i * 5 % 37; ++word) {
          text += static_cast<char>('a' + (i * 3 + word * word) % 8);
          text += ' ';
        }
        dataset_.paragraphs.push_back(text);
      }
      add_question();
    }
  }

  void add_question() {
    Example& example = dataset_.examples.emplace_back();
    example.id = "q" + std::to_string(dataset_.examples.size());
    example.question = dataset_.examples.size() % 2 == 0 ? "who" : "who a b";
    example.paragraph = static_cast<uint32_t>(dataset_.paragraphs.size() - 1);
  }

  Dataset dataset_;
  std::unique_ptr<Tokenizer> tokenizer_;
  ScoringEngine engine_;
  PredictOptions options_;
};

std::vector<std::string> texts(const std::vector<Prediction>& predictions) {
  std::vector<std::string> texts;
  texts.reserve(predictions.size());
  for (const Prediction& prediction : predictions) texts.push_back(prediction.text);
  return texts;
}

TEST_F(PredictorTest, AnswersInTheOrderOfTheData) {
  add_questions(30);
  const std::vector<Prediction> predictions = predict(dataset_, *tokenizer_, engine_, options_);
  ASSERT_EQ(predictions.size(), 30u);
  for (size_t i = 0; i < 30; ++i) {
    Dataset alone;
    alone.paragraphs = {std::string(dataset_.context(dataset_.examples[i]))};
    alone.examples = {dataset_.examples[i]};
    alone.examples[0].paragraph = 0;
    const Prediction expected = predict(alone, *tokenizer_, engine_, options_)[0];
    EXPECT_EQ(predictions[i].text, expected.text) << i;
    ASSERT_EQ(predictions[i].n_best.size(), expected.n_best.size()) << i;
    EXPECT_EQ(predictions[i].n_best[0].begin, expected.n_best[0].begin) << i;
  }
}

TEST_F(PredictorTest, AnswersTheSameInBatchesOfAnySizeOnAnyThreads) {
  add_questions(30);
  const std::vector<std::string> expected =
      texts(predict(dataset_, *tokenizer_, engine_, options_));
  for (const size_t batch_tokens : {size_t{1}, size_t{50}, size_t{100000}}) {
    options_.batch_tokens = batch_tokens;
    options_.threads = 3;
    EXPECT_EQ(texts(predict(dataset_, *tokenizer_, engine_, options_)), expected);
  }
}

TEST_F(PredictorTest, FillsBatchesUpToTheirTokens) {
  add_questions(30);
  options_.batch_tokens = 60;
  predict(dataset_, *tokenizer_, engine_, options_);
  EXPECT_LE(*std::max_element(engine_.lengths().begin(), engine_.lengths().end()), 60u);
  EXPECT_GT(engine_.lengths().front(), 60u - 24);
  EXPECT_GT(*std::max_element(engine_.windows().begin(), engine_.windows().end()), 2u);
}

TEST_F(PredictorTest, ComputesAWindowThatIsLongerThanABatch) {
  add_questions(4);
  options_.batch_tokens = 3;
  predict(dataset_, *tokenizer_, engine_, options_);
  EXPECT_THAT(engine_.windows(), testing::Each(1u));
}

TEST_F(PredictorTest, AnswersMoreQuestionsThanAreHeldAtOnce) {
  add_questions(6);
  const std::string expected = predict(dataset_, *tokenizer_, engine_, options_)[5].text;
  while (dataset_.examples.size() < 9000) {
    dataset_.examples.push_back(dataset_.examples[5]);
  }
  options_.threads = 2;
  const std::vector<Prediction> predictions = predict(dataset_, *tokenizer_, engine_, options_);
  ASSERT_EQ(predictions.size(), 9000u);
  EXPECT_EQ(predictions[8999].text, expected);
  EXPECT_EQ(predictions[8191].text, expected);
}

TEST_F(PredictorTest, TellsProgressOverAllWindows) {
  add_questions(30);
  options_.batch_tokens = 100;
  size_t last = 0;
  size_t of = 0;
  predict(dataset_, *tokenizer_, engine_, options_, [&](size_t done, size_t all) {
    EXPECT_GT(done, last);
    last = done;
    of = all;
  });
  EXPECT_EQ(last, of);
  EXPECT_GT(of, 30u);
}

TEST_F(PredictorTest, SaysNothingAboutAnEmptyContext) {
  dataset_.paragraphs = {" \n"};
  add_question();
  add_questions(2);
  std::vector<std::string> told;
  options_.on_windows = [&](const WindowReport& report) { told = report.empty_contexts; };
  const std::vector<Prediction> predictions = predict(dataset_, *tokenizer_, engine_, options_);
  EXPECT_EQ(predictions[0].text, "");
  EXPECT_NE(predictions[1].text, "");
  EXPECT_THAT(told, testing::ElementsAre("q1"));
}

TEST_F(PredictorTest, AnswersNoQuestions) {
  EXPECT_TRUE(predict(dataset_, *tokenizer_, engine_, options_).empty());
}

TEST_F(PredictorTest, RefusesWindowsLongerThanTheModelsPositions) {
  add_questions(2);
  options_.windows.max_seq_length = 65;
  EXPECT_THROW(predict(dataset_, *tokenizer_, engine_, options_), Error);
}

TEST_F(PredictorTest, GivesTheBestAnswersById) {
  add_questions(3);
  const std::vector<Prediction> predictions = predict(dataset_, *tokenizer_, engine_, options_);
  const auto answers = best_answers(dataset_, predictions);
  EXPECT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers.at("q3"), predictions[2].text);
}

}  // namespace
}  // namespace bertrand
