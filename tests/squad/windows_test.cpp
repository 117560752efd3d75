#include "squad/windows.h"

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "small_vocabulary.h"

namespace bertrand {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A data set of one paragraph.
Dataset about(const std::string& context, std::vector<Example> examples) {
  Dataset dataset;
  dataset.paragraphs = {context};
  dataset.examples = std::move(examples);
  return dataset;
}

Example question(const std::string& text, std::vector<Answer> answers = {}) {
  Example example;
  example.id = "id of " + text;
  example.question = text;
  example.answers = std::move(answers);
  return example;
}

WindowOptions for_training() {
  WindowOptions options;
  options.training = true;
  return options;
}

WindowSet make(const Dataset& dataset, const WindowOptions& options, unsigned threads = 1) {
  return make_windows(dataset, test::small_tokenizer(), options, threads);
}

template <typename T>
std::vector<T> list(std::span<const T> values) {
  return {values.begin(), values.end()};
}

std::pair<int32_t, int32_t> target(const Window& window) { return {window.start, window.end}; }

TEST(Windows, HoldQuestionAndContext) {
  const WindowSet windows = make(about("The fox  jumps.", {question("Who jumped?")}), {});
  ASSERT_EQ(windows.size(), 1u);
  const Window window = windows[0];
  EXPECT_EQ(window.example, 0u);
  EXPECT_EQ(window.index, 0u);
  EXPECT_THAT(list(window.ids), ElementsAre(2, 12, 7, 9, 13, 3, 5, 6, 7, 8, 14, 3));
  EXPECT_EQ(window.document_begin, 6u);
  EXPECT_THAT(list(window.words), ElementsAre(0, 1, 2, 2, 2));
  EXPECT_THAT(list(window.max_context), ElementsAre(1, 1, 1, 1, 1));
  EXPECT_EQ(target(window), std::pair(-1, -1));
}

TEST(Windows, AreCutAtTheStride) {
  WindowOptions options;
  options.max_seq_length = 9;  // 1 token of question, 5 of the document
  options.doc_stride = 2;
  const WindowSet windows =
      make(about("the fox over dog ( ) - 1895", {question("who"), question("who ?")}), options);
  ASSERT_EQ(windows.size(), 3u + 3u);
  EXPECT_THAT(list(windows[0].ids), ElementsAre(2, 12, 3, 5, 6, 10, 11, 15, 3));
  EXPECT_THAT(list(windows[1].ids), ElementsAre(2, 12, 3, 10, 11, 15, 17, 16, 3));
  EXPECT_THAT(list(windows[2].ids), ElementsAre(2, 12, 3, 15, 17, 16, 18, 3));
  EXPECT_THAT(list(windows[2].words), ElementsAre(4, 5, 6, 7));
  EXPECT_EQ(windows[2].index, 2u);
  EXPECT_EQ(windows[3].example, 1u);
  EXPECT_EQ(windows[3].index, 0u);
  // "dog" has one neighbour on its poorer side in two windows: the first of them has it.
  EXPECT_THAT(list(windows[0].max_context), ElementsAre(1, 1, 1, 1, 0));
  EXPECT_THAT(list(windows[1].max_context), ElementsAre(0, 0, 1, 1, 0));
  EXPECT_THAT(list(windows[2].max_context), ElementsAre(0, 0, 1, 1));
}

TEST(Windows, SkipNothingWhereTheStrideIsLongerThanTheWindow) {
  WindowOptions options;
  options.max_seq_length = 6;  // 2 tokens of the document
  options.doc_stride = 100;
  const WindowSet windows = make(about("the fox over dog .", {question("who")}), options);
  ASSERT_EQ(windows.size(), 3u);
  EXPECT_THAT(list(windows[1].ids), ElementsAre(2, 12, 3, 10, 11, 3));
  EXPECT_THAT(list(windows[2].ids), ElementsAre(2, 12, 3, 14, 3));
}

TEST(Windows, LongQuestionsAreCut) {
  WindowOptions options;
  options.max_query_length = 2;
  const WindowSet windows = make(about("fox", {question("who jumps over ?")}), options);
  EXPECT_THAT(list(windows[0].ids), ElementsAre(2, 12, 7, 3, 6, 3));
}

TEST(Windows, OfTrainingKnowTheAnswer) {
  const std::string context = "the fox (1895-1943) jumps over the dog";
  const WindowSet windows =
      make(about(context, {question("a", {{"fox", 4}}), question("b", {{"1943", 14}}),
                           question("c", {{"jumps over the dog", 20}}),
                           question("d", {{"jump", 20}}), question("e", {{"um", 21}})}),
           for_training());
  ASSERT_EQ(windows.size(), 5u);
  // [CLS] [UNK] [SEP] the fox ( 1895 - 1943 ) jump ##s over the dog [SEP]
  EXPECT_EQ(target(windows[0]), std::pair(4, 4));
  EXPECT_EQ(target(windows[1]), std::pair(8, 8));    // narrowed from the word's 5 to 9
  EXPECT_EQ(target(windows[2]), std::pair(10, 14));  // to the end of the context
  EXPECT_EQ(target(windows[3]), std::pair(10, 10));
  EXPECT_EQ(target(windows[4]), std::pair(10, 11));  // not whole tokens: the word
  EXPECT_THAT(windows.report().skipped, IsEmpty());
}

TEST(Windows, WithoutTheWholeAnswerPointAtTheirBeginning) {
  WindowOptions options = for_training();
  options.max_seq_length = 8;  // 4 tokens of the document
  options.doc_stride = 2;
  const WindowSet windows =
      make(about("the fox over dog ( )", {question("who", {{"over dog (", 8}})}), options);
  ASSERT_EQ(windows.size(), 2u);
  EXPECT_EQ(target(windows[0]), std::pair(0, 0));
  EXPECT_EQ(target(windows[1]), std::pair(3, 5));
}

TEST(Windows, OfImpossibleQuestionsPointAtTheirBeginning) {
  Example impossible = question("who");
  impossible.is_impossible = true;
  Example with_answers = question("who ?", {{"fox", 4}, {"the", 0}});
  with_answers.is_impossible = true;
  const WindowSet windows = make(about("the fox", {impossible, with_answers}), for_training());
  ASSERT_EQ(windows.size(), 2u);
  EXPECT_EQ(target(windows[0]), std::pair(0, 0));
  EXPECT_EQ(target(windows[1]), std::pair(0, 0));
}

TEST(Windows, OfTrainingNeedExactlyOneAnswer) {
  const Dataset none = Dataset::parse(R"({"data": [{"paragraphs": [{"context": "the fox", "qas": [
      {"id": "first", "question": "who", "answers": [{"text": "fox", "answer_start": 4}]},
      {"id": "second", "question": "who"}]}]}]})",
                                      "some.json");
  Dataset two = none;
  two.examples[1].answers = {{"fox", 4}, {"the", 0}};
  for (const auto& [dataset, count] : {std::pair(none, "has 0 answers"), {two, "has 2 answers"}}) {
    try {
      make(dataset, for_training());
      FAIL() << "accepted: " << count;
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), 3);
      EXPECT_THAT(error.what(), HasSubstr("some.json: data[0].paragraphs[0].qas[1]"));
      EXPECT_THAT(error.what(), HasSubstr("\"second\""));
      EXPECT_THAT(error.what(), HasSubstr(count));
    }
    EXPECT_EQ(make(dataset, {}).size(), 2u);  // for prediction they do not matter
  }
}

TEST(Windows, SkipAnAnswerThatIsNotThere) {
  const std::string context = "the fox \u200B\u200B jumps";
  const Dataset dataset = about(
      context, {question("lost", {{"dog", 4}}), question("kept", {{"fox", 4}}),
                question("beyond", {{"jumps", 100}}), question("removed", {{"\u200B\u200B", 8}})});
  const WindowSet windows = make(dataset, for_training());
  ASSERT_EQ(windows.size(), 1u);
  EXPECT_EQ(windows[0].example, 1u);
  EXPECT_THAT(windows.report().skipped, ElementsAre("id of lost", "id of beyond", "id of removed"));
  EXPECT_EQ(make(dataset, {}).size(), 4u);
}

TEST(Windows, OfAnEmptyContextThereAreNone) {
  for (const bool training : {false, true}) {
    Dataset dataset;
    dataset.paragraphs = {"", " \n\t", "\u200B", "fox"};
    for (uint32_t paragraph = 0; paragraph < 4; ++paragraph) {
      Example example = question(std::to_string(paragraph), {{"fox", 0}});
      example.paragraph = paragraph;
      dataset.examples.push_back(example);
    }
    WindowOptions options;
    options.training = training;
    const WindowSet windows = make(dataset, options);
    ASSERT_EQ(windows.size(), 1u);
    EXPECT_EQ(windows[0].example, 3u);
    EXPECT_THAT(windows.report().empty_contexts, ElementsAre("id of 0", "id of 1", "id of 2"));
    EXPECT_THAT(windows.report().skipped, IsEmpty());
  }
}

TEST(Windows, OfNoQuestionsThereAreNone) { EXPECT_EQ(make(Dataset(), {}).size(), 0u); }

TEST(Windows, OfAnEmptyQuestionHoldTheContext) {
  const WindowSet windows = make(about("fox", {question("")}), {});
  ASSERT_EQ(windows.size(), 1u);
  EXPECT_THAT(list(windows[0].ids), ElementsAre(2, 3, 6, 3));
  EXPECT_EQ(windows[0].document_begin, 2u);
}

void expect_usage_error(const Dataset& dataset, const WindowOptions& options, const char* names) {
  try {
    make(dataset, options);
    FAIL() << "accepted: " << names;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_THAT(error.what(), HasSubstr(names));
  }
}

TEST(Windows, NeedRoomForTheContext) {
  const Dataset dataset = about("the fox", {question("who"), question("who jumps")});
  WindowOptions options;
  options.max_seq_length = 3;
  expect_usage_error(dataset, options, "--max-seq-length");
  options.max_seq_length = 6;  // enough for the first question
  expect_usage_error(dataset, options, "question 2 has 3 tokens");
  options.max_query_length = 2;
  EXPECT_EQ(make(dataset, options).size(), 3u);
  options.doc_stride = 0;
  expect_usage_error(dataset, options, "doc_stride");
}

TEST(Windows, SurviveTheMoveOfTheirSet) {
  WindowSet first = make(about("the fox", {question("who")}), {});
  const Window window = first[0];
  WindowSet second = std::move(first);
  EXPECT_THAT(list(window.ids), ElementsAre(2, 12, 3, 5, 6, 3));
  EXPECT_EQ(second[0].ids.data(), window.ids.data());
}

/// A paragraph of `count` words of the small vocabulary and its like.
std::string random_text(std::mt19937& random, size_t count) {
  static const std::vector<std::string> choices = {
      "the",  "fox",    "Jumps", "(1895-1943).",  "dog.",
      "over", "jumped", "who?",  "\u00e9t\u00e9", "\u200B"};
  std::string text;
  for (size_t i = 0; i < count; ++i) text += choices[random() % choices.size()] + " ";
  return text;
}

Dataset random_dataset(std::mt19937& random) {
  Dataset dataset;
  for (uint32_t paragraph = 0; paragraph < 40; ++paragraph) {
    dataset.paragraphs.push_back(random_text(random, random() % 60));
    for (size_t i = random() % 4; i > 0; --i) {
      Example& example = dataset.examples.emplace_back();
      example.id = std::to_string(dataset.examples.size());
      example.question = random_text(random, random() % 6);
      example.paragraph = paragraph;
    }
  }
  return dataset;
}

/// What the reference computes for one question, said as plainly as can be: ids and max-context of
/// each window.
struct PlainWindow {
  std::vector<int32_t> ids;
  std::vector<uint8_t> max_context;
};

double context_score(size_t begin, size_t end, size_t token) {
  if (token < begin || token >= end) return -1;
  return static_cast<double>(std::min(token - begin, end - 1 - token)) +
         0.01 * static_cast<double>(end - begin);
}

std::vector<int32_t> ids_of(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<Token> tokens;
  tokenizer.tokenize(text, tokens);
  std::vector<int32_t> ids;
  ids.reserve(tokens.size());
  for (const Token& token : tokens) ids.push_back(token.id);
  return ids;
}

std::vector<PlainWindow> plain_windows(const std::string& question, const std::string& context,
                                       const WindowOptions& options) {
  const Tokenizer tokenizer = test::small_tokenizer();
  std::vector<int32_t> query = ids_of(tokenizer, question);
  query.resize(std::min<size_t>(query.size(), options.max_query_length));
  const std::vector<int32_t> document = ids_of(tokenizer, context);
  const size_t room = options.max_seq_length - query.size() - 3;
  std::vector<std::pair<size_t, size_t>> parts;
  for (size_t begin = 0; begin < document.size();
       begin += std::min<size_t>(room, options.doc_stride)) {
    parts.emplace_back(begin, std::min(document.size(), begin + room));
    if (parts.back().second == document.size()) break;
  }
  std::vector<PlainWindow> windows;
  for (const auto& [begin, end] : parts) {
    PlainWindow& window = windows.emplace_back();
    window.ids = {2};
    window.ids.insert(window.ids.end(), query.begin(), query.end());
    window.ids.push_back(3);
    for (size_t token = begin; token < end; ++token) {
      window.ids.push_back(document[token]);
      const auto best = std::max_element(parts.begin(), parts.end(), [&](auto left, auto right) {
        return context_score(left.first, left.second, token) <
               context_score(right.first, right.second, token);
      });
      window.max_context.push_back(*best == std::pair(begin, end) ? 1 : 0);
    }
    window.ids.push_back(3);
  }
  return windows;
}

TEST(Windows, EqualThePlainAlgorithm) {
  std::mt19937 random(1);
  for (int round = 0; round < 20; ++round) {
    const Dataset dataset = random_dataset(random);
    WindowOptions options;
    options.max_query_length = 1 + static_cast<uint32_t>(random() % 8);
    options.max_seq_length = options.max_query_length + 4 + static_cast<uint32_t>(random() % 40);
    options.doc_stride = 1 + static_cast<uint32_t>(random() % 30);
    const WindowSet windows = make(dataset, options);
    size_t at = 0;
    for (const Example& example : dataset.examples) {
      const std::string context(dataset.context(example));
      for (const PlainWindow& plain : plain_windows(example.question, context, options)) {
        ASSERT_LT(at, windows.size());
        ASSERT_EQ(dataset.examples[windows[at].example].id, example.id);
        ASSERT_EQ(list(windows[at].ids), plain.ids);
        ASSERT_EQ(list(windows[at].max_context), plain.max_context);
        ++at;
      }
    }
    EXPECT_EQ(at, windows.size());
  }
}

TEST(Windows, GiveEachTokenTheMostContextOnce) {
  std::mt19937 random(2);
  const std::string context = random_text(random, 500);
  WindowOptions options;
  options.max_seq_length = 40;
  options.doc_stride = 7;
  const WindowSet windows = make(about(context, {question("who")}), options);
  std::vector<int> given(ids_of(test::small_tokenizer(), context).size(), 0);
  for (size_t i = 0; i < windows.size(); ++i) {
    for (size_t token = 0; token < windows[i].max_context.size(); ++token) {
      given.at(i * options.doc_stride + token) += windows[i].max_context[token];
    }
  }
  EXPECT_THAT(given, Each(1));
}

TEST(Windows, DoNotDependOnTheNumberOfThreads) {
  std::mt19937 random(3);
  const Dataset dataset = random_dataset(random);
  WindowOptions options;
  options.max_seq_length = 30;
  options.doc_stride = 10;
  const WindowSet alone = make(dataset, options, /*threads=*/1);
  for (const unsigned threads : {2u, 7u}) {
    const WindowSet together = make(dataset, options, threads);
    ASSERT_EQ(together.size(), alone.size());
    for (size_t i = 0; i < alone.size(); ++i) {
      EXPECT_EQ(together[i].example, alone[i].example);
      EXPECT_EQ(list(together[i].ids), list(alone[i].ids));
      EXPECT_EQ(list(together[i].words), list(alone[i].words));
      EXPECT_EQ(list(together[i].max_context), list(alone[i].max_context));
    }
    EXPECT_EQ(together.report().empty_contexts, alone.report().empty_contexts);
  }
}

}  // namespace
}  // namespace bertrand
