#include "bertrand/reader.h"

#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "predict/small_reader.h"
#include "shared_data.h"

namespace bertrand {
namespace {

class ReaderTest : public testing::Test {
 protected:
  ReaderTest() { test::write_small_reader(model()); }

  std::filesystem::path model() const { return folder_ / "model"; }

  test::TemporaryFolder folder_;
};

const Question about_owls = {"what owls hunt?", "At night the owls hunt mice and voles."};

TEST_F(ReaderTest, FindsAnswersInTheContext) {
  Reader reader(model());
  const std::vector<FoundAnswer> answers = reader.ask(about_owls, 5);
  ASSERT_EQ(answers.size(), 5u);
  double last = 1;
  for (const FoundAnswer& answer : answers) {
    EXPECT_EQ(answer.text, about_owls.context.substr(answer.begin, answer.end - answer.begin));
    EXPECT_GT(answer.score, 0);
    EXPECT_LE(answer.score, last);
    last = answer.score;
  }
}

TEST_F(ReaderTest, GivesOneAnswerUnlessAskedForMore) {
  Reader reader(model());
  EXPECT_EQ(reader.ask(about_owls).size(), 1u);
  EXPECT_EQ(reader.ask(about_owls, 0).size(), 1u);
  EXPECT_GT(reader.ask(about_owls, 30).size(), 20u);  // more than n_best are kept where asked for
}

TEST_F(ReaderTest, AnswersManyQuestionsAsOneByOne) {
  Reader reader(model(), {.threads = 2});
  std::vector<Question> questions = {about_owls, {"who ran off?", "The red fox ran off."}};
  questions.push_back({"when?", about_owls.context});
  questions.push_back({"when?", ""});
  const auto answers = reader.ask(questions, 3);
  ASSERT_EQ(answers.size(), 4u);
  for (size_t i = 0; i < questions.size(); ++i) {
    const std::vector<FoundAnswer> alone = reader.ask(questions[i], 3);
    ASSERT_EQ(answers[i].size(), alone.size());
    for (size_t k = 0; k < alone.size(); ++k) {
      EXPECT_EQ(answers[i][k].text, alone[k].text);
      EXPECT_EQ(answers[i][k].begin, alone[k].begin);
      EXPECT_NEAR(answers[i][k].score, alone[k].score, 1e-5);
    }
  }
  EXPECT_TRUE(reader.ask(std::vector<Question>()).empty());
}

TEST_F(ReaderTest, SaysNothingWhereThereIsNothing) {
  Reader reader(model());
  for (const char* context : {"", " \n", "\u200B"}) {
    const FoundAnswer answer = reader.ask({"who?", context})[0];
    EXPECT_EQ(answer.text, "");
    EXPECT_EQ(answer.end, 0u);
  }
}

TEST_F(ReaderTest, SaysNothingWhereThatIsAllowedAndLikelier) {
  ReaderOptions options;
  options.allow_no_answer = true;
  options.no_answer_threshold = -1000;
  EXPECT_EQ(Reader(model(), options).ask(about_owls)[0].text, "");
  options.no_answer_threshold = 1000;
  const FoundAnswer answer = Reader(model(), options).ask(about_owls)[0];
  EXPECT_NE(answer.text, "");
  EXPECT_GT(answer.end, 0u);
}

TEST_F(ReaderTest, ReadsBytesThatAreNotUtf8) {
  Reader reader(model());
  const FoundAnswer answer = reader.ask({"who\xFF?", "\xC3 fox ran \xE2\x82 off"})[0];
  EXPECT_LT(answer.begin, answer.end);
  EXPECT_LE(answer.end, 15u);
}

TEST_F(ReaderTest, ReadsNoMoreThanTheModelHasPositions) {
  std::string context;
  for (int i = 0; i < 40; ++i) context += "the red fox ran off. ";
  Reader reader(model(), {.doc_stride = 16});  // 384 tokens, but the model has 48 positions
  const FoundAnswer answer = reader.ask({"who?", context})[0];
  EXPECT_EQ(answer.text, context.substr(answer.begin, answer.end - answer.begin));
}

TEST_F(ReaderTest, TellsWhatItComputesIn) {
  EXPECT_EQ(Reader(model()).precision(), "fp32");
  EXPECT_EQ(Reader(model(), {.precision = "int8"}).precision(), "int8");
  Reader reader(model(), {.precision = "auto"});
  EXPECT_THAT(reader.precision(), testing::AnyOf("fp32", "bf16"));
  EXPECT_EQ(reader.ask(about_owls).size(), 1u);
}

TEST_F(ReaderTest, TakesNoMoreThreadsThanThereAre) {
  Reader reader(model(), {.threads = 100000});  // so many could not be started
  EXPECT_EQ(reader.ask(about_owls).size(), 1u);
}

TEST_F(ReaderTest, Moves) {
  Reader first(model());
  const std::string expected = first.ask(about_owls)[0].text;
  Reader second = std::move(first);
  EXPECT_EQ(second.ask(about_owls)[0].text, expected);
}

TEST_F(ReaderTest, RefusesWhatIsNoModel) {
  EXPECT_THROW(Reader(folder_ / "none"), std::runtime_error);
  // A vocabulary larger than the embeddings would read beyond them.
  std::ofstream(model() / "vocab.txt", std::ios::app) << "more\nthan\nembedded\n";
  try {
    Reader reader(model());
    FAIL() << "no error";
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("vocab.txt: has 28 pieces"));
  }
}

TEST(ReaderOfSquad, AnswersQuestionsRight) {
  BERTRAND_NEEDS_SHARED("models/minilm-squad-reference");
  Reader reader(test::shared_folder() / "models/minilm-squad-reference");
  const FoundAnswer answer =
      reader.ask({"What do owls hunt?", "At night owls hunt mice and voles."})[0];
  EXPECT_EQ(answer.text, "mice and voles");
  EXPECT_EQ(answer.begin, 19u);
  EXPECT_EQ(answer.end, 33u);
}

}  // namespace
}  // namespace bertrand
