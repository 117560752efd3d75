#include <filesystem>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "predict/small_reader.h"

namespace {

using bertrand::test::Outcome;
using testing::HasSubstr;
using testing::MatchesRegex;
using Json = nlohmann::json;

class AskCommand : public testing::Test {
 protected:
  AskCommand() { bertrand::test::write_small_reader(program_.path("model")); }

  Outcome ask(const std::string& arguments) const {
    return program_.run("ask --model model " + arguments);
  }

  bertrand::test::Program program_;
};

constexpr const char* kContext = "'At night the owls hunt mice and voles.'";

TEST_F(AskCommand, PrintsAnswerScoreAndPlace) {
  const Outcome outcome = ask(std::string("-q 'what owls hunt?' -c ") + kContext);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, MatchesRegex("[a-zA-Z .]+  \\(score 0\\.[0-9]+, characters [0-9]+ to "
                                        "[0-9]+\\)\n"));
  EXPECT_EQ(outcome.err, "");
}

TEST_F(AskCommand, PrintsJson) {
  const Outcome outcome = ask(std::string("--json --top-k 2 -q 'what?' -c ") + kContext);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  const Json json = Json::parse(outcome.out);
  EXPECT_EQ(json.at("question"), "what?");
  ASSERT_EQ(json.at("answers").size(), 2u);
  EXPECT_EQ(json.at("answers")[0].at("answer"), json.at("answer"));
  const std::string context = kContext;
  const size_t begin = json.at("begin");
  const size_t end = json.at("end");
  EXPECT_EQ(json.at("answer"), context.substr(begin + 1, end - begin));
  EXPECT_EQ(ask(std::string("--format json --top-k 2 -q 'what?' -c ") + kContext).out, outcome.out);
}

TEST_F(AskCommand, ReadsTheContextFromAFileOrStandardInput) {
  const std::string expected = ask(std::string("-q 'what?' -c ") + kContext).out;
  program_.write("context.txt", "At night the owls hunt mice and voles.");
  EXPECT_EQ(ask("-q 'what?' --context-file context.txt").out, expected);
  EXPECT_EQ(ask("-q 'what?' --context-file - <context.txt").out, expected);
  EXPECT_EQ(ask("-q 'what?' -c - <context.txt").out, expected);
  EXPECT_EQ(ask("-q 'what?' <context.txt").out, expected);
}

TEST_F(AskCommand, AnswersSeveralQuestionsUnderEach) {
  const Outcome outcome = ask(std::string("--top-k 2 -q 'what?' -q 'when?' -c ") + kContext);
  EXPECT_THAT(outcome.out,
              MatchesRegex("what\\?\n  [^\n]*\n  [^\n]*\nwhen\\?\n  [^\n]*\n  [^\n]*\n"));
}

TEST_F(AskCommand, AnswersAFileOfQuestions) {
  program_.write("questions.txt", "what?\r\n\n  when?  \n");
  const Outcome outcome = ask(std::string("--json --questions questions.txt -c ") + kContext);
  const size_t line = outcome.out.find('\n');
  EXPECT_EQ(Json::parse(outcome.out.substr(0, line)).at("question"), "what?");
  EXPECT_EQ(Json::parse(outcome.out.substr(line)).at("question"), "when?");
}

TEST_F(AskCommand, AnswersAFileOfJsonLines) {
  program_.write("questions.jsonl",
                 "{\"question\": \"who?\", \"context\": \"The fox\"}\n"
                 "{\"question\": \"what?\", \"context\": \"mice\"}\n");
  const Outcome outcome = ask("--json --questions - <questions.jsonl");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  const size_t line = outcome.out.find('\n');
  EXPECT_EQ(Json::parse(outcome.out.substr(line)).at("answer"), "mice");
}

TEST_F(AskCommand, NamesTheLineThatIsWrong) {
  const auto message = [&](const std::string& lines) {
    program_.write("lines", "{\"question\": \"a\", \"context\": \"b\"}\n" + lines);
    const Outcome outcome = ask("--questions lines");
    EXPECT_EQ(outcome.status, 3);
    EXPECT_EQ(outcome.out, "");
    return outcome.err;
  };
  EXPECT_THAT(message("{\"question\": "), HasSubstr("lines, line 2: is not a JSON object"));
  EXPECT_THAT(message("\n{\"context\": \"b\"}"), HasSubstr("line 3: has no \"question\""));
  EXPECT_THAT(message("{\"question\": \"a\"}"), HasSubstr("line 2: has no \"context\""));
  EXPECT_THAT(message("{\"question\": \"a\", \"context\": 1}"),
              HasSubstr("\"context\" that is not"));
}

TEST_F(AskCommand, FindsTheModelByTheEnvironment) {
  const std::string expected = ask("-q 'what?' -c mice").out;
  EXPECT_EQ(program_.run("ask -q 'what?' -c mice", "BERTRAND_MODEL=model").out, expected);
}

TEST_F(AskCommand, SaysThatThereIsNoAnswer) {
  EXPECT_EQ(ask("-q 'what?' -c ''").out, "[no answer]  (score 1.0000)\n");
  const Outcome outcome =
      ask("--json --no-answer --null-score-diff-threshold -1000 -q 'what?' -c mice");
  EXPECT_EQ(Json::parse(outcome.out).at("answer"), "");
}

TEST_F(AskCommand, TellsOfEmptyContexts) {
  EXPECT_THAT(ask("-q 'what?' -q 'when?' -c ' '").err,
              HasSubstr("The context of questions \"what?\", \"when?\" is empty"));
  program_.write("lines",
                 "{\"question\": \"who?\", \"context\": \"\\n\"}\n"
                 "{\"question\": \"what?\", \"context\": \"mice\"}\n");
  EXPECT_THAT(ask("--questions lines").err,
              HasSubstr("The context of question \"who?\" is empty; the answer is \"\"."));
  EXPECT_EQ(ask("-q 'what?' -c mice").err, "");
}

TEST_F(AskCommand, RefusesAListInsteadOfLines) {
  for (const char* list : {"[{\"question\": \"who?\", \"context\": \"b\"}]", " [\n\"who?\"]"}) {
    program_.write("list.json", list);
    const Outcome outcome = ask("--questions list.json -c mice");
    EXPECT_EQ(outcome.status, 3);
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, HasSubstr("list.json: is a JSON list; write a question a line"));
  }
  program_.write("questions.txt", "[sic] what?\n");
  EXPECT_EQ(ask("--questions questions.txt -c mice").status, 0);
}

TEST_F(AskCommand, SpeaksOfItsFlagsWhereAQuestionIsTooLong) {
  const Outcome outcome = ask("-q 'what what what what what what' -c mice --max-seq-length 8");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("choose a larger --max-seq-length"));
}

TEST_F(AskCommand, AnswersVeryManyQuestions) {
  std::string lines;
  for (int i = 0; i < 1000; ++i) lines += "what hunt " + std::to_string(i) + "?\n";
  program_.write("questions.txt", lines);
  const Outcome outcome = ask(std::string("--json --questions questions.txt -c ") + kContext);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  std::istringstream answers(outcome.out);
  std::string line;
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(std::getline(answers, line));
    ASSERT_EQ(Json::parse(line).at("question"), "what hunt " + std::to_string(i) + "?");
  }
}

TEST_F(AskCommand, StandardInputIsReadOnce) {
  program_.write("questions.txt", "what?\n");
  for (const char* context : {"", "-c -", "--context-file -"}) {
    const Outcome outcome = ask(std::string("--questions - <questions.txt ") + context);
    EXPECT_EQ(outcome.status, 2) << context;
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, HasSubstr("Standard input"));
  }
  EXPECT_EQ(ask("--questions - -c mice <questions.txt").status, 0);
}

TEST_F(AskCommand, TellsThatTheModelIsTakenAsUncased) {
  program_.write("data.json", R"({"data": [{"paragraphs": [{"context": "mice", "qas": [
      {"id": "x", "question": "what?", "answers": [{"text": "mice", "answer_start": 0}]}]}]}]})");
  std::filesystem::remove(program_.path("model/tokenizer_config.json"));
  for (const std::string command :
       {"ask -q 'what?' -c mice", "predict --data data.json --out answers",
        "evaluate --data data.json", "train --train data.json --out run --max-query-length 8"}) {
    const Outcome outcome = program_.run(command + " --model model");
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("taking it as uncased")) << command;
  }
  EXPECT_EQ(ask("-q 'what?' -c mice --cased").err, "");
}

TEST_F(AskCommand, ABrokenModelIsABadInput) {
  std::string bytes = program_.read("model/model.safetensors");
  bytes.replace(bytes.size() - 4, 4, std::string("\0\0\xC0\x7F", 4));  // NaN
  program_.write("model/model.safetensors", bytes);
  const Outcome outcome = ask("-q 'what?' -c mice");
  EXPECT_EQ(outcome.status, 3);
  EXPECT_THAT(outcome.err, testing::AllOf(HasSubstr("model: "), HasSubstr("weights are broken")));
  std::filesystem::remove(program_.path("model/vocab.txt"));
  const Outcome no_words = ask("-q 'what?' -c mice");
  EXPECT_EQ(no_words.status, 3);
  EXPECT_THAT(no_words.err, HasSubstr("model: holds no vocab.txt"));
}

TEST_F(AskCommand, TheVocabularyMayBeThatOfTokenizerJson) {
  const std::string question =
      "-q 'Who wrote the long letter?' -c 'The letter was written by mice.'";
  const std::string answer = ask(question).out;
  const std::string words = program_.read("model/vocab.txt");
  std::istringstream lines(words);
  Json pieces;
  size_t id = 0;
  for (std::string line; std::getline(lines, line);) pieces[line] = id++;
  program_.write("model/tokenizer.json", Json{{"normalizer", {{"lowercase", true}}},
                                              {"model", {{"type", "WordPiece"}, {"vocab", pieces}}}}
                                             .dump());
  std::filesystem::remove(program_.path("model/vocab.txt"));
  std::filesystem::remove(program_.path("model/tokenizer_config.json"));
  const Outcome outcome = ask(question);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, answer);
  EXPECT_EQ(outcome.err, "") << "that it is uncased is known";

  // What is written from it has a vocab.txt.
  const Outcome converted = program_.run("convert model written");
  EXPECT_EQ(converted.status, 0) << converted.err;
  EXPECT_EQ(program_.read("written/vocab.txt"), words);
  EXPECT_EQ(program_.run("inspect written").status, 0);
  EXPECT_THAT(program_.run("inspect model").out,
              HasSubstr("its words are those of tokenizer.json"));
}

TEST_F(AskCommand, KnowsWrongUsage) {
  EXPECT_EQ(ask("-c mice").status, 2);
  EXPECT_EQ(ask("-q a -c b --context-file c").status, 2);
  EXPECT_EQ(ask("-q a -c b --top-k 0").status, 2);
  EXPECT_EQ(ask("-q a -c b --top-k -1").status, 2);
  EXPECT_EQ(ask("-q a -c b --n-best -1").status, 2);
  EXPECT_EQ(ask("-q a -c b --max-seq-length 49").status, 2);
  EXPECT_EQ(ask("-q a -c b --threads 0").status, 2);
  EXPECT_EQ(ask("-q a -c b --cased --uncased").status, 2);
  EXPECT_EQ(ask("-q a -c b --precision fp8").status, 2);
  program_.write("empty", "\n \n");
  EXPECT_EQ(ask("--questions empty -c b").status, 2);
  EXPECT_EQ(ask("-q a --context-file none").status, 1);
  EXPECT_EQ(program_.run("ask -q a -c b --model none").status, 1);
}

}  // namespace
