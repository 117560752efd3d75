#include "squad/answers.h"

#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace bertrand {
namespace {

/// "[CLS] who [SEP]" and a document part whose tokens are words of the context.
class AnswersTest : public testing::Test {
 protected:
  AnswersTest() {
    std::string pieces = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    for (const char* piece : {"who", "the", "red", "fox", "##es", "ran", "off", ".", "a"}) {
      pieces += piece;
      pieces += '\n';
    }
    vocabulary_ = std::make_shared<const Vocabulary>(Vocabulary::parse(pieces, "pieces"));
    tokenizer_ = std::make_unique<Tokenizer>(vocabulary_, TokenizerOptions());
    dataset_.examples.emplace_back().id = "question";
  }

  /// A window over the given pieces with the word of each; all have their most context here, and
  /// every logit is low.
  struct MadeWindow {
    std::vector<int32_t> ids;
    std::vector<uint32_t> words;
    std::vector<uint8_t> max_context;
    std::vector<float> start, end;

    /// Of a document token, by its place in the document.
    float& start_of(size_t token) { return start[token + 3]; }
    float& end_of(size_t token) { return end[token + 3]; }
  };

  MadeWindow window(const std::vector<std::pair<std::string, uint32_t>>& document) const {
    MadeWindow made;
    made.ids = {id("[CLS]"), id("who"), id("[SEP]")};
    for (const auto& [piece, word] : document) {
      made.ids.push_back(id(piece));
      made.words.push_back(word);
    }
    made.ids.push_back(id("[SEP]"));
    made.max_context.assign(made.words.size(), 1);
    made.start.assign(made.ids.size(), -10);
    made.end.assign(made.ids.size(), -10);
    return made;
  }

  int32_t id(const std::string& piece) const { return vocabulary_->find(piece); }

  Prediction answer(const std::string& context, const std::vector<MadeWindow>& windows,
                    const AnswerOptions& options = {}) {
    dataset_.paragraphs = {context};
    std::vector<WindowLogits> logits;
    for (const MadeWindow& made : windows) {
      Window view;
      view.ids = made.ids;
      view.document_begin = 3;
      view.words = made.words;
      view.max_context = made.max_context;
      logits.push_back({view, made.start, made.end});
    }
    return answer_question(dataset_, dataset_.examples[0], logits, *tokenizer_, options);
  }

  MadeWindow red_foxes() const {
    return window({{"the", 0}, {"red", 1}, {"fox", 2}, {"##es", 2}, {"ran", 3}, {".", 3}});
  }

  std::shared_ptr<const Vocabulary> vocabulary_;
  std::unique_ptr<Tokenizer> tokenizer_;
  Dataset dataset_;
};

const std::string foxes = "The  Red\nFoxes ran.";

std::vector<std::string> texts(const Prediction& prediction) {
  std::vector<std::string> texts;
  for (const Candidate& candidate : prediction.n_best) texts.push_back(candidate.text);
  return texts;
}

TEST_F(AnswersTest, GivesTheOriginalText) {
  MadeWindow made = red_foxes();
  made.start_of(1) = 3;
  made.end_of(3) = 2;
  const Prediction prediction = answer(foxes, {made});
  EXPECT_EQ(prediction.text, "Red Foxes");
  const Candidate& best = prediction.n_best.front();
  EXPECT_EQ(best.start_logit, 3);
  EXPECT_EQ(best.end_logit, 2);
  EXPECT_EQ(best.begin, 5u);  // across the line feed, which the text has as a space
  EXPECT_EQ(best.end, 14u);
}

TEST_F(AnswersTest, LeavesOutPunctuationThatWasNotPredicted) {
  MadeWindow made = red_foxes();
  made.start_of(4) = 3;
  made.end_of(4) = 2;
  EXPECT_EQ(answer(foxes, {made}).text, "ran");
}

TEST_F(AnswersTest, TakesWholeWordsWhereTheTokensDoNotAlign) {
  // A decomposed accent: the word has more letters than its tokens.
  MadeWindow made = red_foxes();
  made.start_of(4) = 3;
  made.end_of(4) = 2;
  EXPECT_EQ(answer("The Red Foxes ra\u0301n.", {made}).text, "ra\u0301n.");
}

TEST_F(AnswersTest, TakesWholeWordsForAnUnknownPiece) {
  MadeWindow made = window({{"[UNK]", 0}, {".", 0}, {"ran", 1}});
  made.start_of(0) = made.end_of(0) = 3;
  EXPECT_EQ(answer("Owls. ran", {made}).text, "Owls.");
}

TEST_F(AnswersTest, CountsCodePointsNotBytes) {
  MadeWindow made = window({{"the", 0}, {"fox", 1}});
  made.start_of(1) = made.end_of(1) = 3;
  const Prediction prediction = answer("„é“ fox", {made});
  EXPECT_EQ(prediction.text, "fox");
  EXPECT_EQ(prediction.n_best.front().begin, 4u);
  EXPECT_EQ(prediction.n_best.front().end, 7u);
}

TEST_F(AnswersTest, FindsTheFirstOfEqualTextsInAWord) {
  MadeWindow made = window({{"fox", 0}, {".", 0}, {"fox", 0}});
  made.start_of(2) = made.end_of(2) = 3;
  EXPECT_EQ(answer("fox.fox", {made}).n_best.front().begin, 0u);
}

TEST_F(AnswersTest, LeavesOutWhatIsNotInTheDocument) {
  MadeWindow made = red_foxes();
  made.start[0] = made.start[1] = made.end[2] = made.end[9] = 9;  // [CLS], question, both [SEP]
  made.start_of(2) = 3;
  made.end_of(3) = 2;
  EXPECT_EQ(answer(foxes, {made}).text, "Foxes");
}

TEST_F(AnswersTest, LetsAllTokensTakeTheBestPlaces) {
  MadeWindow made = red_foxes();
  AnswerOptions options;
  options.n_best = 2;
  made.start[0] = made.start[1] = 9;
  made.start_of(2) = 3;  // the third best start is not looked at
  made.end_of(3) = 2;
  EXPECT_EQ(answer(foxes, {made}, options).text, "empty");
}

TEST_F(AnswersTest, AsksForMostContextOfTheStartAlone) {
  MadeWindow made = red_foxes();
  made.start_of(1) = 5;
  made.start_of(2) = 3;
  made.end_of(3) = 2;
  made.max_context = {1, 0, 1, 0, 0, 0};
  EXPECT_EQ(answer(foxes, {made}).text, "Foxes");
}

TEST_F(AnswersTest, EndsNotBeforeItBeginsNorAfterTheLongest) {
  MadeWindow made = red_foxes();
  made.start_of(1) = 5;
  made.end_of(0) = 9;
  made.end_of(3) = 5;
  made.end_of(2) = 4;
  AnswerOptions options;
  options.max_answer_tokens = 2;
  const Prediction prediction = answer(foxes, {made}, options);
  EXPECT_EQ(prediction.text, "Red Fox");
  EXPECT_EQ(prediction.n_best.front().end_logit, 4);
}

TEST_F(AnswersTest, KeepsEachTextOfAWindowOnce) {
  MadeWindow made = window({{"fox", 0}, {"ran", 1}, {"fox", 2}});
  made.start_of(0) = made.end_of(0) = 3;
  made.start_of(2) = made.end_of(2) = 4;
  const Prediction prediction = answer("fox ran fox", {made});
  EXPECT_THAT(texts(prediction),
              testing::ElementsAre("fox", "fox ran fox", "ran fox", "fox ran", "ran"));
  EXPECT_EQ(prediction.n_best.front().begin, 8u);
}

TEST_F(AnswersTest, JoinsWindowsAndSortsAgain) {
  MadeWindow first = window({{"fox", 0}});
  MadeWindow second = window({{"ran", 1}});
  MadeWindow third = window({{"fox", 0}});
  first.start_of(0) = first.end_of(0) = 1;
  second.start_of(0) = second.end_of(0) = 2;
  third.start_of(0) = third.end_of(0) = 1;
  const Prediction prediction = answer("fox ran", {first, second, third});
  EXPECT_THAT(texts(prediction), testing::ElementsAre("ran", "fox", "fox"));
  const double sum = 1 + 2 * std::exp(-2.0);
  EXPECT_DOUBLE_EQ(prediction.n_best[0].probability, 1 / sum);
  EXPECT_DOUBLE_EQ(prediction.n_best[2].probability, std::exp(-2.0) / sum);
}

TEST_F(AnswersTest, TakesTheEarlierOfEqualScores) {
  MadeWindow made = window({{"fox", 0}, {"ran", 1}, {"off", 2}});
  std::fill(made.start.begin(), made.start.end(), 0.0f);
  std::fill(made.end.begin(), made.end.end(), 0.0f);
  EXPECT_THAT(texts(answer("fox ran off", {made})),
              testing::ElementsAre("fox", "fox ran", "fox ran off", "ran", "ran off", "off"));
}

TEST_F(AnswersTest, KeepsTheBestOfAllWindows) {
  MadeWindow made = window({{"fox", 0}, {"ran", 1}});
  made.start_of(0) = made.end_of(0) = 1;
  made.start_of(1) = made.end_of(1) = 0.5;
  AnswerOptions options;
  options.n_best = 3;
  const Prediction prediction = answer("fox ran", {made, made}, options);
  EXPECT_THAT(texts(prediction), testing::ElementsAre("fox", "fox", "fox ran"));
  double sum = 0;
  for (const Candidate& candidate : prediction.n_best) sum += candidate.probability;
  EXPECT_DOUBLE_EQ(sum, 1);
}

TEST_F(AnswersTest, SaysNothingAboutNoWindow) {
  const Prediction prediction = answer("", {});
  EXPECT_EQ(prediction.text, "");
  EXPECT_THAT(texts(prediction), testing::ElementsAre(""));
}

TEST_F(AnswersTest, RefusesScoresThatAreNoNumbers) {
  MadeWindow made = red_foxes();
  made.end_of(1) = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(answer(foxes, {made}), Error);
  made.end_of(1) = std::numeric_limits<float>::infinity();
  EXPECT_THROW(answer(foxes, {made}), Error);
}

TEST_F(AnswersTest, SaysNothingWhereThatScoresHigher) {
  MadeWindow made = window({{"fox", 0}});
  made.start_of(0) = made.end_of(0) = 1;
  made.start[0] = 2;
  made.end[0] = 1;
  AnswerOptions options;
  options.allow_no_answer = true;
  const Prediction prediction = answer("fox", {made}, options);
  EXPECT_EQ(prediction.text, "");
  EXPECT_DOUBLE_EQ(prediction.no_answer_score, 1);
  EXPECT_THAT(texts(prediction), testing::ElementsAre("", "fox"));
  options.no_answer_threshold = 1;  // not above it
  EXPECT_EQ(answer("fox", {made}, options).text, "fox");
}

TEST_F(AnswersTest, SaysNothingByTheWindowThatIsLeastForIt) {
  MadeWindow first = window({{"fox", 0}});
  MadeWindow second = window({{"ran", 1}});
  first.start[0] = first.end[0] = 8;
  second.start[0] = second.end[0] = -2;
  first.start_of(0) = first.end_of(0) = 1;
  AnswerOptions options;
  options.allow_no_answer = true;
  const Prediction prediction = answer("fox ran", {first, second}, options);
  EXPECT_EQ(prediction.text, "fox");
  EXPECT_DOUBLE_EQ(prediction.no_answer_score, -6);
  EXPECT_THAT(texts(prediction), testing::ElementsAre("fox", "", "ran"));
}

TEST_F(AnswersTest, SaysNothingWhereNothingElseIsLeft) {
  MadeWindow made = red_foxes();
  made.max_context.assign(made.max_context.size(), 0);
  AnswerOptions options;
  EXPECT_EQ(answer(foxes, {made}, options).text, "empty");
  options.allow_no_answer = true;
  const Prediction prediction = answer(foxes, {made}, options);
  EXPECT_EQ(prediction.text, "");
  EXPECT_THAT(texts(prediction), testing::ElementsAre(""));
}

}  // namespace
}  // namespace bertrand
