#include <algorithm>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/program.h"

namespace {

using testing::HasSubstr;

constexpr const char* kVocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nfox\nwho\n##s\n";

/// Runs `bertrand windows` on files of a folder of its own.
class WindowsCommand : public testing::Test {
 protected:
  void SetUp() override { write("vocab.txt", kVocabulary); }

  void write(const char* name, const std::string& text) const { program_.write(name, text); }

  /// A file with one paragraph, "the fox", and the given questions.
  void write_data(const std::string& questions) {
    write("data.json",
          R"({"data": [{"paragraphs": [{"context": "The fox", "qas": [)" + questions + "]}]}]}");
  }

  /// The exit status; out_ and err_ are what was written.
  int run(const std::string& flags, const std::string& data = "data.json") {
    const bertrand::test::Outcome outcome =
        program_.run("windows --vocab vocab.txt --data " + data + " " + flags);
    out_ = outcome.out;
    err_ = outcome.err;
    return outcome.status;
  }

  bertrand::test::Program program_;
  std::string out_;
  std::string err_;
};

constexpr const char* kFox =
    R"({"id": "a", "question": "who", "answers": [{"text": "fox", "answer_start": 4}]})";

TEST_F(WindowsCommand, PrintsALineAWindow) {
  write_data(kFox);
  EXPECT_EQ(run("--uncased"), 0) << err_;
  EXPECT_EQ(out_.substr(0, 6), "a\t0\t6\t");
  EXPECT_THAT(out_, HasSubstr("\t-1\t-1\n"));
  EXPECT_EQ(run("--uncased --train --threads 3"), 0) << err_;
  EXPECT_THAT(out_, HasSubstr("\t4\t4\n"));
  const std::string uncased = out_;
  EXPECT_EQ(run("--cased --train"), 0) << err_;
  EXPECT_NE(out_, uncased);
}

TEST_F(WindowsCommand, ReadsStandardInput) {
  write_data(kFox);
  EXPECT_EQ(run("--uncased <data.json", "-"), 0) << err_;
  EXPECT_EQ(out_.substr(0, 6), "a\t0\t6\t");
}

TEST_F(WindowsCommand, TellsWhatItSkips) {
  write_data(std::string(kFox) +
             R"(, {"id": "lost", "question": "", "answers": [{"text": "x", "answer_start": 0}]})");
  EXPECT_EQ(run("--uncased --train"), 0);
  EXPECT_EQ(std::count(out_.begin(), out_.end(), '\n'), 1);
  EXPECT_THAT(
      err_,
      HasSubstr("data.json: the answer is not where it should be in the context of question lost"));
  EXPECT_THAT(err_, HasSubstr("1 skipped"));
}

TEST_F(WindowsCommand, TellsOfEmptyContexts) {
  write("data.json", R"({"data": [{"paragraphs": [{"context": " ", "qas": [{"id": "a",
                         "question": "who"}]}]}]})");
  EXPECT_EQ(run("--uncased"), 0);
  EXPECT_EQ(out_, "");
  EXPECT_THAT(err_, HasSubstr("the context of question a is empty"));
}

TEST_F(WindowsCommand, EndsWith3WhereTheDataIsBad) {
  write("data.json", "{\"data\": [\n{]}");
  EXPECT_EQ(run("--uncased"), 3);
  EXPECT_THAT(err_, HasSubstr("data.json is not JSON: line 2, byte 13"));
  write_data(R"({"id": "a", "question": "who", "answers": []})");
  EXPECT_EQ(run("--uncased --train"), 3);
  EXPECT_THAT(err_, HasSubstr("data[0].paragraphs[0].qas[0] (id \"a\") has 0 answers"));
  EXPECT_EQ(out_, "");
}

TEST_F(WindowsCommand, EndsWith2WhereItIsUsedWrongly) {
  write_data(kFox);
  EXPECT_EQ(run(""), 2);
  EXPECT_EQ(run("--cased --uncased"), 2);
  EXPECT_EQ(run("--uncased --doc-stride 0"), 2);
  EXPECT_EQ(run("--uncased --max-seq-length 2"), 2);
  EXPECT_EQ(run("--uncased --max-seq-length many"), 2);
}

TEST_F(WindowsCommand, EndsWith1WhereAFileCannotBeRead) {
  EXPECT_EQ(run("--uncased", "nowhere.json"), 1);
  EXPECT_THAT(err_, HasSubstr("nowhere.json"));
}

}  // namespace
