#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/program.h"

namespace {

using testing::AllOf;
using testing::HasSubstr;

/// Runs `bertrand tokenize` in a folder of its own with a small vocabulary.
class TokenizeCommand : public testing::Test {
 protected:
  void SetUp() override {
    write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nfox\nThe\n##es\n中\ncafe\ncafé\n");
  }

  void write(const char* name, const std::string& text) const { program_.write(name, text); }

  /// The exit status; out_ and err_ are what was written.
  int run(const std::string& flags) {
    const bertrand::test::Outcome outcome = program_.run("tokenize " + flags);
    out_ = outcome.out;
    err_ = outcome.err;
    return outcome.status;
  }

  bertrand::test::Program program_;
  std::string out_;
  std::string err_;
};

TEST_F(TokenizeCommand, PrintsALineAText) {
  EXPECT_EQ(run("--vocab vocab.txt --uncased 'The foxes' '' '中fox?'"), 0) << err_;
  EXPECT_EQ(out_, "the fox ##es\n\n中 fox [UNK]\n");
  EXPECT_EQ(err_, "");
}

TEST_F(TokenizeCommand, ReadsLinesOfAFileOrOfStandardInput) {
  write("texts", "The fox\n\nfoxes");
  for (const char* input : {"--file texts", "--file - <texts", "<texts"}) {
    EXPECT_EQ(run(std::string("--vocab vocab.txt --uncased ") + input), 0) << err_;
    EXPECT_EQ(out_, "the fox\n\nfox ##es\n");
  }
}

TEST_F(TokenizeCommand, TheVocabularyMayComeFromStandardInput) {
  for (const char* vocabulary : {"-", "/dev/stdin"}) {
    EXPECT_EQ(run(std::string("--uncased 'The fox' <vocab.txt --vocab ") + vocabulary), 0) << err_;
    EXPECT_EQ(out_, "the fox\n");
  }
}

TEST_F(TokenizeCommand, PrintsNumbersOrJson) {
  EXPECT_EQ(run("--vocab vocab.txt --cased --ids 'The fox'"), 0) << err_;
  EXPECT_EQ(out_, "7 6\n");
  EXPECT_EQ(run("--vocab vocab.txt --cased --json 'café 中'"), 0) << err_;
  EXPECT_EQ(out_, "{\"tokens\":[\"café\",\"中\"],\"ids\":[11,9],\"offsets\":[[0,4],[5,6]]}\n");
}

TEST_F(TokenizeCommand, CountsInvalidUtf8AsReplacementCharacters) {
  write("texts", "f\xE2\x82ox \xFF fox\n");
  EXPECT_EQ(run("--vocab vocab.txt --cased --json --file texts"), 0) << err_;
  EXPECT_THAT(out_, HasSubstr("\"offsets\":[[0,4],[7,10]]"));
}

TEST_F(TokenizeCommand, TakesCaseFromFlagThenFolderThenUncased) {
  EXPECT_EQ(run("--vocab vocab.txt 'The café'"), 0) << err_;
  EXPECT_EQ(out_, "the cafe\n");
  EXPECT_THAT(err_, AllOf(HasSubstr("uncased"), HasSubstr("--cased")));
  write("tokenizer_config.json", R"({"do_lower_case": false})");
  for (const char* from : {"--vocab vocab.txt", "--model ."}) {
    EXPECT_EQ(run(std::string(from) + " 'The café'"), 0) << err_;
    EXPECT_EQ(out_, "The café\n");
    EXPECT_EQ(err_, "");
  }
  EXPECT_EQ(run("--model . --uncased 'The café'"), 0) << err_;
  EXPECT_EQ(out_, "the cafe\n");
  write("tokenizer_config.json", R"({"do_lower_case": null})");
  EXPECT_EQ(run("--model . 'The café'"), 0) << err_;
  EXPECT_EQ(out_, "the cafe\n");
}

TEST_F(TokenizeCommand, SplitsAsTheReferenceDoes) {
  EXPECT_EQ(run("--vocab vocab.txt --cased 'fox[SEP]' --ids"), 0) << err_;
  EXPECT_EQ(out_, "6 3\n");
  EXPECT_EQ(run("--vocab vocab.txt --cased --reference 'fox[SEP]' --ids"), 0) << err_;
  EXPECT_EQ(out_, "6 1 1 1\n");
}

TEST_F(TokenizeCommand, RefusesBadFiles) {
  write("twice.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nfox\nfox\n");
  EXPECT_EQ(run("--vocab twice.txt --cased fox"), 3);
  EXPECT_THAT(err_, AllOf(HasSubstr("twice.txt"), HasSubstr("line 7")));
  EXPECT_EQ(out_, "");
  EXPECT_EQ(run("--vocab absent.txt --cased fox"), 1);
  EXPECT_THAT(err_, HasSubstr("absent.txt"));
  EXPECT_EQ(run("--vocab vocab.txt --cased --file absent.txt"), 1);
  EXPECT_THAT(err_, HasSubstr("absent.txt"));
  for (const char* config :
       {"{", "[]", R"({"do_lower_case": "yes"})", R"({"do_lower_case": 1e999})"}) {
    write("tokenizer_config.json", config);
    EXPECT_EQ(run("--vocab vocab.txt fox"), 3) << config;
    EXPECT_THAT(err_, HasSubstr("tokenizer_config.json"));
  }
}

TEST_F(TokenizeCommand, RefusesFlagsThatContradict) {
  for (const char* flags :
       {"--vocab vocab.txt --model . fox", "--vocab vocab.txt --cased --uncased",
        "--vocab vocab.txt --json --ids fox", "--vocab vocab.txt --file x fox"}) {
    EXPECT_EQ(run(flags), 2) << flags;
    EXPECT_NE(err_, "");
  }
}

}  // namespace
