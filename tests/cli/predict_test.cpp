#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "predict/small_reader.h"

namespace {

using bertrand::test::Outcome;
using testing::HasSubstr;
using Json = nlohmann::json;

/// The predict and evaluate commands, which work on each other's files.
class PredictCommand : public testing::Test {
 protected:
  PredictCommand() {
    bertrand::test::write_small_reader(program_.path("model"));
    program_.write("data.json", R"({"version": "1.1", "data": [{"paragraphs": [
      {"context": "At night the owls hunt mice.", "qas": [
        {"id": "b", "question": "what?", "answers": [{"text": "mice", "answer_start": 23}]},
        {"id": "a", "question": "when?", "answers": [{"text": "night", "answer_start": 3}]}]},
      {"context": "The red fox ran off.", "qas": [
        {"id": "c", "question": "who?", "answers": [{"text": "The red fox", "answer_start": 0}]}]}
      ]}]})");
    program_.write("v2.json", R"({"version": "v2.0", "data": [{"paragraphs": [
      {"context": "At night the owls hunt mice.", "qas": [
        {"id": "b", "question": "what?", "is_impossible": false,
         "answers": [{"text": "mice", "answer_start": 23}]},
        {"id": "a", "question": "who?", "is_impossible": true, "answers": []}]}]}]})");
  }

  Outcome predict(const std::string& arguments) const {
    return program_.run("predict --model model " + arguments);
  }

  Outcome evaluate(const std::string& arguments) const {
    return program_.run("evaluate " + arguments);
  }

  bool exists(const std::string& name) const {
    return std::filesystem::exists(program_.path(name));
  }

  bertrand::test::Program program_;
};

TEST_F(PredictCommand, WritesTheFiles) {
  const Outcome outcome = predict("--data data.json --out new/folder");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  const std::string best = program_.read("new/folder/predictions.json");
  EXPECT_LT(best.find("\"b\""), best.find("\"a\""));
  const Json predictions = Json::parse(best);
  const Json n_best = Json::parse(program_.read("new/folder/nbest_predictions.json"));
  ASSERT_EQ(predictions.size(), 3u);
  for (const auto& [id, answer] : predictions.items()) {
    EXPECT_EQ(n_best.at(id)[0].at("text"), answer);
    double sum = 0;
    for (const Json& candidate : n_best.at(id)) sum += candidate.at("probability").get<double>();
    EXPECT_NEAR(sum, 1, 1e-12);
  }
  EXPECT_FALSE(exists("new/folder/null_odds.json"));
}

TEST_F(PredictCommand, WritesScoresOfNoAnswerForV2) {
  EXPECT_EQ(predict("--data v2.json --out out2 --null-score-diff-threshold -1000").status, 0);
  EXPECT_EQ(Json::parse(program_.read("out2/predictions.json")), (Json{{"a", ""}, {"b", ""}}));
  EXPECT_EQ(Json::parse(program_.read("out2/null_odds.json")).size(), 2u);
  EXPECT_EQ(predict("--data v2.json --out out3 --always-answer").status, 0);
  EXPECT_FALSE(exists("out3/null_odds.json"));
  EXPECT_NE(Json::parse(program_.read("out3/predictions.json")).at("a"), "");
  EXPECT_EQ(predict("--data data.json --out out4 --no-answer").status, 0);
  EXPECT_TRUE(exists("out4/null_odds.json"));
}

TEST_F(PredictCommand, TellsOfEmptyContexts) {
  program_.write("empty.json", R"({"data": [{"paragraphs": [{"context": " ", "qas": [
      {"id": "x", "question": "what?"}]}]}]})");
  const Outcome outcome = predict("--data empty.json --out out5");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.err, HasSubstr("The context of question x is empty"));
  EXPECT_EQ(Json::parse(program_.read("out5/predictions.json")).at("x"), "");
}

TEST_F(PredictCommand, LeavesNothingBehindWhereItFails) {
  program_.write("broken.json", "{\"data\": [");
  EXPECT_EQ(predict("--data broken.json --out out6").status, 3);
  EXPECT_FALSE(exists("out6"));
  program_.write("file", "");
  const Outcome outcome = predict("--data data.json --out file/out");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("is not a folder"));
  EXPECT_EQ(predict("--data none.json --out out6").status, 1);
  EXPECT_EQ(predict("--data data.json --out out6 --max-seq-length 400").status, 2);
  EXPECT_FALSE(exists("out6"));
  EXPECT_EQ(predict("--data data.json").status, 2);
}

TEST_F(PredictCommand, AFullDiskLeavesNoneOfTheFiles) {
  // The last of the files to appear is the one there is no room for.
  std::filesystem::create_directory(program_.path("full"));
  std::filesystem::create_symlink("/dev/full", program_.path("full/predictions.json"));
  Outcome outcome = predict("--data v2.json --out full");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("predictions.json: cannot be written (No space left"));
  EXPECT_FALSE(exists("full/nbest_predictions.json"));
  EXPECT_FALSE(exists("full/null_odds.json"));
  outcome = program_.run("predict --model model --data data.json --out new/folder", "ulimit -f 1;");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("nbest_predictions.json: cannot be written (File too large"));
  EXPECT_FALSE(exists("new"));
}

TEST_F(PredictCommand, GivesEvaluateTheSameAsTheModel) {
  for (const std::string data : {"data.json", "v2.json"}) {
    EXPECT_EQ(predict("--data " + data + " --out out7").status, 0);
    std::string flags = "--data " + data + " --predictions out7/predictions.json";
    if (data == "v2.json") {
      flags += " --na-prob-file out7/null_odds.json --na-prob-thresh 1000";
    }
    const Outcome file = evaluate(flags);
    EXPECT_EQ(file.status, 0) << file.err;
    const Outcome model = evaluate("--data " + data + " --model model");
    EXPECT_EQ(model.status, 0) << model.err;
    EXPECT_EQ(file.out, model.out);
  }
}

TEST_F(PredictCommand, EvaluatesPredictionsOfAnyProgram) {
  program_.write("p.json", R"({"b": "the mice", "c": "red fox ran", "other": "x"})");
  const Outcome outcome = evaluate("--data data.json --predictions p.json");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  const Json json = Json::parse(outcome.out);
  EXPECT_DOUBLE_EQ(json.at("exact_match"), 100.0 / 3);
  EXPECT_DOUBLE_EQ(json.at("f1"), 100.0 * (1 + 0.8) / 3);
  EXPECT_THAT(outcome.err, HasSubstr("p.json: has no answer to question a; that counts as wrong."));
}

TEST_F(PredictCommand, EvaluatesV2WithThresholds) {
  program_.write("p.json", R"({"a": "owls", "b": "mice"})");
  program_.write("odds.json", R"({"a": 2.5, "b": -3.0})");
  const Outcome outcome = evaluate("--data v2.json --predictions p.json --na-prob-file odds.json");
  const Json json = Json::parse(outcome.out);
  EXPECT_DOUBLE_EQ(json.at("exact_match"), 100);  // 2.5 is above the threshold of 1
  EXPECT_DOUBLE_EQ(json.at("best_f1"), 100);
  EXPECT_DOUBLE_EQ(json.at("best_f1_thresh"), -3);
  EXPECT_EQ(json.at("HasAns_total"), 1);
  EXPECT_EQ(json.at("NoAns_total"), 1);
  const Outcome higher =
      evaluate("--data v2.json --predictions p.json --na-prob-file odds.json --na-prob-thresh 3");
  EXPECT_DOUBLE_EQ(Json::parse(higher.out).at("exact_match"), 50);
}

TEST_F(PredictCommand, EvaluateRefusesFlagsThatWouldDoNothing) {
  program_.write("p.json", R"({"a": "owls", "b": "mice", "c": "fox"})");
  program_.write("odds.json", R"({"a": 2.5, "b": -3.0, "c": 0.0})");
  const std::string predictions = "--data data.json --predictions p.json ";
  EXPECT_EQ(evaluate(predictions).status, 0);
  for (const char* flag : {"--n-best 3", "--threads 1", "--uncased", "--doc-stride 9",
                           "--always-answer", "--batch-tokens 9", "--na-prob-thresh 1"}) {
    const Outcome outcome = evaluate(predictions + flag);
    EXPECT_EQ(outcome.status, 2) << flag;
    EXPECT_THAT(outcome.err, HasSubstr(std::string(flag).substr(0, 4))) << flag;
  }
  const Outcome outcome = evaluate(predictions + "--na-prob-file odds.json");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--na-prob-file: is for SQuAD v2.0, and every question of "
                                     "data.json has an answer"));
}

TEST_F(PredictCommand, EvaluateRefusesWhatItCannotUse) {
  program_.write("p.json", "[]");
  EXPECT_EQ(evaluate("--data data.json --predictions p.json").status, 3);
  EXPECT_EQ(evaluate("--data data.json --predictions none.json").status, 1);
  EXPECT_EQ(evaluate("--data data.json --predictions p.json --model model").status, 2);
  EXPECT_EQ(evaluate("--data data.json --model model --na-prob-file p.json").status, 2);
  program_.write("p.json", R"({"b": 1e999})");
  Outcome refused = evaluate("--data data.json --predictions p.json");
  EXPECT_EQ(refused.status, 3);
  EXPECT_THAT(refused.err, HasSubstr("p.json: "));
  program_.write("p.json", R"({"x": "mice"})");
  program_.write("open.json", R"({"data": [{"paragraphs": [{"context": "mice", "qas": [
      {"id": "x", "question": "what?"}]}]}]})");
  for (const char* from : {"--predictions p.json", "--model model"}) {
    refused = evaluate(std::string("--data open.json ") + from);
    EXPECT_EQ(refused.status, 3);
    EXPECT_THAT(refused.err, HasSubstr("open.json: data[0].paragraphs[0].qas[0]"));
  }
  program_.write("none.json", R"({"data": []})");
  const Outcome outcome = evaluate("--data none.json --predictions p.json");
  EXPECT_EQ(outcome.status, 3);
  EXPECT_EQ(outcome.out, "");
}

}  // namespace
