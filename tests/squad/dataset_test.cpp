#include "squad/dataset.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/temporary_folder.h"
#include "shared_data.h"

namespace bertrand {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// The sentence of the Error that reading `json` gives; it must be of the kind bad_input.
std::string complaint(std::string_view json) {
  try {
    Dataset::parse(json, "some.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_EQ(error.exit_code(), 3);
    return error.what();
  }
  ADD_FAILURE() << "accepted: " << json;
  return {};
}

/// A file with one paragraph and the given questions.
std::string with_questions(const std::string& questions) {
  return R"({"data": [{"paragraphs": [{"context": "One two.", "qas": [)" + questions + "]}]}]}";
}

TEST(Dataset, ReadsVersion1) {
  const Dataset dataset = Dataset::parse(R"({
    "data": [
      {"title": "first", "paragraphs": [
        {"context": "One two.", "qas": [
          {"id": "a", "question": "What?", "answers": [{"text": "two", "answer_start": 4}]},
          {"answers": [{"answer_start": 0, "text": "One"}, {"answer_start": 0, "text": "One two"}],
           "question": "Which?", "id": "b"}]},
        {"qas": [], "context": "Nothing is asked here."}]},
      {"paragraphs": []},
      {"paragraphs": [{"context": "Three.", "qas": [{"id": "c", "question": "", "answers": []}]}]}
    ], "version": "1.1"})",
                                         "some.json");
  EXPECT_EQ(dataset.version, "1.1");
  EXPECT_EQ(dataset.where, "some.json");
  EXPECT_FALSE(dataset.has_impossible);
  EXPECT_THAT(dataset.paragraphs, ElementsAre("One two.", "Nothing is asked here.", "Three."));
  EXPECT_THAT(dataset.article_begins, ElementsAre(0, 2, 2));
  ASSERT_EQ(dataset.examples.size(), 3u);
  const Example& second = dataset.examples[1];
  EXPECT_EQ(second.id, "b");
  EXPECT_EQ(second.question, "Which?");
  EXPECT_EQ(second.paragraph, 0u);
  EXPECT_FALSE(second.is_impossible);
  ASSERT_EQ(second.answers.size(), 2u);
  EXPECT_EQ(second.answers[1].text, "One two");
  EXPECT_EQ(dataset.examples[0].answers[0].start, 4);
  EXPECT_EQ(dataset.examples[2].paragraph, 2u);
  EXPECT_EQ(dataset.context(dataset.examples[2]), "Three.");
}

TEST(Dataset, ReadsVersion2) {
  const Dataset dataset = Dataset::parse(
      R"({"version": "v2.0", "data": [{"paragraphs": [{"context": "One two.", "qas": [
        {"id": "a", "question": "What?", "is_impossible": true, "answers": [],
         "plausible_answers": [{"text": "two", "answer_start": 4}]},
        {"id": "b", "question": "What?", "is_impossible": false,
         "answers": [{"text": "two", "answer_start": 4}]}]}]}]})",
      "some.json");
  EXPECT_TRUE(dataset.has_impossible);
  EXPECT_TRUE(dataset.examples[0].is_impossible);
  EXPECT_TRUE(dataset.examples[0].answers.empty());
  EXPECT_FALSE(dataset.examples[1].is_impossible);
}

TEST(Dataset, EitherTheVersionOrAQuestionTellsVersion2) {
  EXPECT_TRUE(Dataset::parse(R"({"version": "v2.0", "data": []})", "").has_impossible);
  EXPECT_FALSE(Dataset::parse(R"({"version": "v1.1", "data": []})", "").has_impossible);
  EXPECT_FALSE(Dataset::parse(R"({"version": "1.2.0", "data": []})", "").has_impossible);
  EXPECT_FALSE(Dataset::parse(R"({"data": []})", "").has_impossible);
  const std::string question = R"({"id": "a", "question": "", "is_impossible": true})";
  EXPECT_TRUE(Dataset::parse(with_questions(question), "").has_impossible);
}

TEST(Dataset, AnswersMayBeMissing) {
  const Dataset dataset =
      Dataset::parse(with_questions(R"({"id": "a", "question": "What?"})"), "some.json");
  ASSERT_EQ(dataset.examples.size(), 1u);
  EXPECT_TRUE(dataset.examples[0].answers.empty());
}

TEST(Dataset, UnescapesText) {
  const Dataset dataset = Dataset::parse(
      with_questions(R"({"id": "\u00e9", "question": "\"\ud83d\ude00\"\n\u0000|"})"), "");
  EXPECT_EQ(dataset.examples[0].id, "\u00e9");
  EXPECT_EQ(dataset.examples[0].question, std::string("\"\U0001F600\"\n\0|", 9));
}

TEST(Dataset, AByteOrderMarkIsNotPartOfTheText) {
  EXPECT_EQ(Dataset::parse("\xEF\xBB\xBF{\"data\": [], \"version\": \"x\"}", "").version, "x");
}

TEST(Dataset, NamesLineAndByteOfMalformedJson) {
  struct Case {
    std::string json;
    const char* place;
    const char* reason;
  };
  const std::vector<Case> cases = {
      {"", "line 1, byte 1 of the file: ", "unexpected end of input"},
      {" \n\n ", "line 3, byte 4 of the file: ", "unexpected end of input"},
      {"{\"data\": [\n  {]\n}", "line 2, byte 15 of the file: ", "unexpected ']'"},
      {"{\n\"data\": [],\n}", "line 3, byte 15 of the file: ", "unexpected '}'"},
      {"{\"data\": []} x", "line 1, byte 14 of the file: ", "invalid literal"},
      {"{\"data\": [\n\"cut", "line 2, byte 15 of the file: ", "missing closing quote"},
      {"{\"data\": \"a\nb\"}", "line 1, byte 12 of the file: ", "control character"},
      {"{\"data\": \"\xFF\"}", "line 1, byte 11 of the file: ", "ill-formed UTF-8"},
      {"{\"data\": \"\\ud800\"}", "line 1, byte 17 of the file: ", "surrogate"},
      {"\xEF\xBB\xBF{\"data\" []}", "line 1, byte 12 of the file: ", "expected ':'"},
      {std::string(5000, '['), "line 1, byte 5000 of the file: ", "unexpected end of input"},
  };
  for (const Case& item : cases) {
    const std::string found = complaint(item.json);
    EXPECT_THAT(found, HasSubstr("some.json is not JSON: "));
    EXPECT_THAT(found, HasSubstr(item.place));
    EXPECT_THAT(found, HasSubstr(item.reason));
    EXPECT_LT(found.size(), 300u) << found;
  }
}

// JSON, but deeper than is ever needed: refused, not followed.
TEST(Dataset, RefusesEndlessNesting) {
  const std::string deep = std::string(5000, '[') + std::string(5000, ']');
  EXPECT_THAT(complaint(deep), HasSubstr("some.json cannot be read: line 1, byte 1024 of the file: "
                                         "lists and objects lie 1024 deep in one another"));
  EXPECT_THAT(complaint("[" + std::string(1022, '[') + std::string(1022, ']') + "]"),
              HasSubstr("the file's content is not an object"));
}

// JSON, too, and nothing that can be reckoned with.
TEST(Dataset, NamesThePlaceOfANumberThatIsTooLarge) {
  for (const std::string number : {"99999999999999999999999", "-99999999999999999999999"}) {
    for (const std::string after : {"", " ", "}", "\n]"}) {
      const std::string found =
          complaint(fmt::format("{{\"data\": [0.5, 1e3,\n {}{}]}}", number, after));
      if (after == "}" || after == "\n]") {
        EXPECT_THAT(found, HasSubstr("is not JSON"));
        continue;
      }
      EXPECT_THAT(found, HasSubstr("some.json cannot be read: line 2, byte 22 of the file: a whole "
                                   "number is beyond 64 bits"));
    }
  }
  EXPECT_THAT(complaint("{\"data\": 1e999}"),
              HasSubstr("line 1, byte 14 of the file: a number is too large"));
}

TEST(Dataset, NamesThePathOfAFault) {
  const std::string answer = R"("question": "", "answers": [{"text": "One", "answer_start": 0}, )";
  const std::vector<std::pair<std::string, const char*>> cases = {
      {"[]", "some.json: the file's content is not an object"},
      {"{}", "some.json: data is missing"},
      {R"({"data": {}})", ": data is not a list"},
      {R"({"data": [], "version": 2})", ": version is not a string"},
      {R"({"data": [{"paragraphs": []}, 7]})", ": data[1] is not an object"},
      {R"({"data": [{}]})", ": data[0].paragraphs is missing"},
      {R"({"data": [{"paragraphs": "x"}]})", ": data[0].paragraphs is not a list"},
      {R"({"data": [{"paragraphs": [null]}]})", ": data[0].paragraphs[0] is not an object"},
      {R"({"data": [{"paragraphs": [{"qas": []}]}]})", "data[0].paragraphs[0].context is missing"},
      {R"({"data": [{"paragraphs": [{"context": 1, "qas": []}]}]})",
       "data[0].paragraphs[0].context is not a string"},
      {R"({"data": [{"paragraphs": [{"context": ""}]}]})", "data[0].paragraphs[0].qas is missing"},
      {R"({"data": [{"paragraphs": []}, {"paragraphs": [{"context": "", "qas": []},
          {"context": "", "qas": [{"id": "a", "question": ""}, {"question": ""}]}]}]})",
       ": data[1].paragraphs[1].qas[1].id is missing"},
      {with_questions(R"({"id": 7, "question": ""})"), ".qas[0].id is not a string"},
      {with_questions(R"({"id": "a"})"), ".qas[0].question is missing"},
      {with_questions(R"({"id": "a", "question": "", "is_impossible": "no"})"),
       ".qas[0].is_impossible is not true or false"},
      {with_questions(R"({"id": "a", "question": "", "answers": null})"),
       ".qas[0].answers is not a list"},
      {with_questions(R"({"id": "a", )" + answer + "[]]}"), ".qas[0].answers[1] is not an object"},
      {with_questions(R"({"id": "a", )" + answer + "{\"answer_start\": 0}]}"),
       ".qas[0].answers[1].text is missing"},
      {with_questions(R"({"id": "a", )" + answer + "{\"text\": \"\"}]}"),
       ".qas[0].answers[1].answer_start is missing"},
      {with_questions(R"({"id": "a", )" + answer + "{\"text\": \"\", \"answer_start\": 1.5}]}"),
       ".qas[0].answers[1].answer_start is not a whole number"},
  };
  for (const auto& [json, expected] : cases) EXPECT_THAT(complaint(json), HasSubstr(expected));
}

TEST(Dataset, StopsAtARepeatedId) {
  const std::string found = complaint(R"({"data": [{"paragraphs": [
      {"context": "", "qas": [{"id": "a", "question": ""}, {"id": "b", "question": ""}]},
      {"context": "", "qas": [{"id": "c", "question": ""}, {"id": "a", "question": ""}]}]}]})");
  EXPECT_THAT(found, HasSubstr("some.json: data[0].paragraphs[1].qas[1].id repeats \"a\""));
}

TEST(Dataset, TellsWhereAQuestionStands) {
  const Dataset dataset = Dataset::parse(R"({"data": [{"paragraphs": []}, {"paragraphs": [
      {"context": "", "qas": [{"id": "a", "question": ""}, {"id": "b", "question": ""}]}]},
      {"paragraphs": [{"context": "", "qas": []},
                      {"context": "", "qas": [{"id": "c", "question": ""}]}]}]})",
                                         "some.json");
  EXPECT_EQ(dataset.place(0), "some.json: data[1].paragraphs[0].qas[0]");
  EXPECT_EQ(dataset.place(1), "some.json: data[1].paragraphs[0].qas[1]");
  EXPECT_EQ(dataset.place(2), "some.json: data[2].paragraphs[1].qas[0]");

  Dataset made;
  made.paragraphs = {"One two."};
  made.examples.resize(2);
  EXPECT_EQ(made.place(1), "question 2");
}

TEST(Dataset, LoadsAFile) {
  const test::TemporaryFolder folder;
  const std::filesystem::path path = folder / "some.json";
  std::ofstream(path) << with_questions(R"({"id": "a", "question": "What?"})");
  const Dataset dataset = Dataset::load(path);
  EXPECT_EQ(dataset.where, path.string());
  EXPECT_EQ(dataset.examples.at(0).id, "a");
  std::filesystem::remove(path);
  try {
    Dataset::load(path);
    FAIL() << "loaded a file that is not there";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_THAT(error.what(), HasSubstr(path.string()));
  }
}

TEST(Dataset, ReadsTheDevelopmentSetOfVersion2) {
  BERTRAND_NEEDS_SHARED("data/squad/dev-v2.0.json");
  const Dataset dataset = Dataset::load(test::shared_folder() / "data/squad/dev-v2.0.json");
  EXPECT_TRUE(dataset.has_impossible);
  EXPECT_EQ(dataset.examples.size(), 11873u);
  const auto impossible =
      std::count_if(dataset.examples.begin(), dataset.examples.end(),
                    [](const Example& example) { return example.is_impossible; });
  EXPECT_EQ(impossible, 5945);
}

TEST(Dataset, ReadsTheSetsOfVersion1) {
  BERTRAND_NEEDS_SHARED("data/squad/train-v1.1.json");
  const Dataset train = Dataset::load(test::shared_folder() / "data/squad/train-v1.1.json");
  EXPECT_FALSE(train.has_impossible);
  EXPECT_EQ(train.article_begins.size(), 442u);
  EXPECT_EQ(train.paragraphs.size(), 18896u);
  EXPECT_EQ(train.examples.size(), 87599u);
  const Dataset dev = Dataset::load(test::shared_folder() / "data/squad/dev-v1.1.json");
  EXPECT_EQ(dev.paragraphs.size(), 2067u);
  size_t answers = 0;
  for (const Example& example : dev.examples) answers += example.answers.size();
  EXPECT_EQ(answers, 34726u);
}

std::vector<std::string> words_of(std::string_view context) {
  std::vector<std::string> words;
  for (const Word& word : split_words(context)) {
    words.emplace_back(context.substr(word.begin, word.end - word.begin));
  }
  return words;
}

TEST(SplitWords, SplitsAtFiveSpacesOnly) {
  EXPECT_THAT(words_of("a bc\td\re\nf\u202Fg"), ElementsAre("a", "bc", "d", "e", "f", "g"));
  EXPECT_THAT(words_of(" \n two  words\t"), ElementsAre("two", "words"));
  EXPECT_TRUE(words_of("").empty());
  EXPECT_TRUE(words_of(" \u202F\r\n").empty());
  // no-break space, em space, ideographic space, vertical tab, and code points near U+202F
  for (const std::string other : {"\u00A0", "\u2003", "\u3000", "\v", "\u202E", "\u2030"}) {
    EXPECT_THAT(words_of("a" + other + "b"), ElementsAre("a" + other + "b"));
  }
  EXPECT_THAT(words_of("cut\xE2\x80"), ElementsAre("cut\xE2\x80"));
}

}  // namespace
}  // namespace bertrand
