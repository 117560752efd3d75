// What is common to all commands: their help, and results that cannot be written.
#include <filesystem>
#include <sstream>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/thread_pool.h"
#include "cli/program.h"
#include "predict/small_reader.h"

namespace {

using bertrand::test::Outcome;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kCommands[] = {"",        "tokenize", "windows", "train",
                                     "predict", "evaluate", "ask",     "bench",
                                     "convert", "quantize", "inspect", "run_squad"};

TEST(Help, FitsATerminalAndShowsKindsOfValuesOnly) {
  const bertrand::test::Program program;
  for (const std::string command : kCommands) {
    const Outcome outcome = program.run(command + " --help");
    EXPECT_EQ(outcome.status, 0) << command;
    EXPECT_THAT(outcome.out, HasSubstr("Usage: bertrand")) << command;
    EXPECT_THAT(outcome.out, HasSubstr("--help")) << command;
    std::istringstream lines(outcome.out);
    for (std::string line; std::getline(lines, line);) {
      EXPECT_LE(line.size(), 80u) << command << ": " << line;
    }
    for (const char* noise : {":{", ":UINT", ":INT", ":FLOAT", ":POSITIVE", ":NONNEGATIVE", "in [1",
                              "in [0", "Excludes", "Needs"}) {
      EXPECT_THAT(outcome.out, Not(HasSubstr(noise))) << command;
    }
  }
}

TEST(Help, QuietIsAFlagOfEveryCommand) {
  const bertrand::test::Program program;
  bertrand::test::write_small_reader(program.path("model"));
  std::filesystem::remove(program.path("model/tokenizer_config.json"));
  for (const char* command : kCommands) {
    EXPECT_THAT(program.run(std::string(command) + " --help").out, HasSubstr("--quiet")) << command;
  }
  const std::string tokenize = "tokenize --vocab model/vocab.txt fox";
  EXPECT_THAT(program.run(tokenize).err, HasSubstr("taken as uncased"));
  for (const std::string& quiet : {"--quiet " + tokenize, tokenize + " --quiet"}) {
    const Outcome outcome = program.run(quiet);
    EXPECT_EQ(outcome.status, 0) << quiet;
    EXPECT_EQ(outcome.err, "") << quiet;
  }
}

TEST(Help, ShowsDefaultsAndWhatIsRequired) {
  const bertrand::test::Program program;
  const std::string help = program.run("predict --help").out;
  EXPECT_THAT(help, HasSubstr("--data FILE"));
  EXPECT_THAT(help, HasSubstr("(required)"));
  EXPECT_THAT(help, HasSubstr("--precision auto|fp32|tf32|bf16|fp16|int8"));
  EXPECT_THAT(help, HasSubstr("[384]"));
}

TEST(Help, ShowsDevicesWithTheirNumbers) {
  const bertrand::test::Program program;
  for (const char* command : {"train", "predict", "evaluate", "ask"}) {
    EXPECT_THAT(program.run(std::string(command) + " --help").out,
                HasSubstr("--device cpu|cuda[:N]|mlu[:N]\n"))
        << command;
  }
  EXPECT_THAT(program.run("run_squad --help").out, HasSubstr("--device cpu|gpu[:N]|mlu[:N]\n"));
}

TEST(Threads, AreNoMoreThanTheProcessMayUse) {
  const bertrand::test::Program program;
  bertrand::test::write_small_reader(program.path("model"));
  const std::string command = "ask --model model -q 'what?' -c 'The owls hunt mice.' --threads ";
  const Outcome cut = program.run(command + "1000");
  EXPECT_EQ(cut.status, 0) << cut.err;
  EXPECT_EQ(cut.err, "--threads 1000 is cut to " + std::to_string(bertrand::available_threads()) +
                         ": the process may use no more (affinity mask, cgroup).\n");
  EXPECT_EQ(program.run(command + "1").err, "");
}

TEST(Precision, AutoIsToldInOneLineAndIsFp32OrBf16) {
  const bertrand::test::Program program;
  bertrand::test::write_small_reader(program.path("model"));
  program.write("data.json", R"({"version": "1.1", "data": [{"paragraphs": [
      {"context": "At night the owls hunt mice.", "qas": [
        {"id": "b", "question": "what?", "answers": [{"text": "mice", "answer_start": 23}]}]}]}]})");
  for (const char* command :
       {"ask --model model -q 'what?' -c mice", "evaluate --data data.json --model model",
        "predict --data data.json --model model --out answers"}) {
    const Outcome outcome = program.run(std::string(command) + " --precision auto");
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.err, testing::ContainsRegex("Precision auto: (fp32|bf16)")) << command;
  }
}

/// A result that is lost must not look like success.
TEST(Results, AFullDiskIsAnErrorOfEveryCommand) {
  const bertrand::test::Program program;
  bertrand::test::write_small_reader(program.path("model"));
  program.write("data.json", R"({"version": "1.1", "data": [{"paragraphs": [
      {"context": "At night the owls hunt mice.", "qas": [
        {"id": "b", "question": "what?", "answers": [{"text": "mice", "answer_start": 23}]}]}]}]})");
  program.write("p.json", R"({"b": "mice"})");
  for (const char* command :
       {"--version", "--help", "ask --help", "tokenize --vocab model/vocab.txt --cased fox",
        "windows --vocab model/vocab.txt --uncased --data data.json",
        "ask --model model -q 'what?' -c mice", "ask --model model --json -q 'what?' -c mice",
        "evaluate --data data.json --predictions p.json",
        "evaluate --data data.json --model model"}) {
    const Outcome outcome = program.run(std::string(command) + " >/dev/full");
    EXPECT_EQ(outcome.status, 1) << command;
    EXPECT_THAT(outcome.err, HasSubstr("Standard output cannot be written")) << command;
  }
}

/// Nor may a text that cannot be read look like an empty one.
TEST(Results, StandardInputThatCannotBeReadIsAnErrorOfEveryCommand) {
  const bertrand::test::Program program;
  bertrand::test::write_small_reader(program.path("model"));
  for (const std::string command :
       {"ask --model model -q who", "ask --model model --questions - -c mice",
        "tokenize --vocab model/vocab.txt --cased",
        "windows --vocab model/vocab.txt --uncased --data -"}) {
    for (const std::string from : {" </tmp", " <&-"}) {
      const Outcome outcome = program.run(command + from);
      EXPECT_EQ(outcome.status, 1) << command << from;
      EXPECT_EQ(outcome.out, "") << command << from;
      EXPECT_THAT(outcome.err, HasSubstr("standard input: cannot be read (")) << command << from;
    }
  }
}

TEST(Results, AReaderThatGoesAwayEndsQuietly) {
  const bertrand::test::Program program;
  bertrand::test::write_small_reader(program.path("model"));
  program.write("texts", std::string(200000, 'a') + "\n" + std::string(200000, 'b') + "\n");
  const Outcome outcome =
      program.run("tokenize --vocab model/vocab.txt --cased --file texts | true");
  EXPECT_EQ(outcome.err, "");
}

}  // namespace
