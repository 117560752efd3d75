#include "squad/metrics.h"

#include <fstream>
#include <string>
#include <unordered_map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "shared_data.h"

namespace bertrand {
namespace {

using Predictions = std::unordered_map<std::string, std::string>;
using Scores = std::unordered_map<std::string, double>;

Dataset questions(std::initializer_list<Example> examples) {
  Dataset dataset;
  dataset.version = "1.1";
  dataset.paragraphs = {"context"};
  dataset.examples = examples;
  for (const Example& example : examples) {
    dataset.has_impossible = dataset.has_impossible || example.is_impossible;
  }
  return dataset;
}

Example question(const std::string& id, std::initializer_list<std::string> answers) {
  Example example;
  example.id = id;
  for (const std::string& text : answers) example.answers.push_back({text, 0});
  return example;
}

Example impossible(const std::string& id) {
  Example example;
  example.id = id;
  example.is_impossible = true;
  return example;
}

/// Only what evaluate() reads of a real data set, so that the two stand alone here.
Dataset read_answers(const std::filesystem::path& path) {
  std::ifstream file(path);
  Dataset dataset;
  dataset.paragraphs = {""};
  const auto json = nlohmann::json::parse(file);
  for (const auto& article : json.at("data")) {
    for (const auto& paragraph : article.at("paragraphs")) {
      for (const auto& qa : paragraph.at("qas")) {
        Example example;
        example.id = qa.at("id");
        example.is_impossible = qa.value("is_impossible", false);
        for (const auto& answer : qa.at("answers")) {
          example.answers.push_back({answer.at("text"), 0});
        }
        dataset.has_impossible = dataset.has_impossible || example.is_impossible;
        dataset.examples.push_back(example);
      }
    }
  }
  return dataset;
}

Predictions read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file).get<Predictions>();
}

TEST(NormalizeAnswer, LowersAndDropsPunctuationArticlesAndSpaces) {
  EXPECT_EQ(normalize_answer("The  Denver\tBroncos!"), "denver broncos");
  EXPECT_EQ(normalize_answer("an apple a day, the end"), "apple day end");
  EXPECT_EQ(normalize_answer("  "), "");
  EXPECT_EQ(normalize_answer("The"), "");
  EXPECT_EQ(normalize_answer("theatre banana"), "theatre banana");
}

TEST(NormalizeAnswer, DropsPunctuationBeforeItLooksForArticles) {
  EXPECT_EQ(normalize_answer("a-b"), "ab");
  EXPECT_EQ(normalize_answer("t.h.e end"), "end");
  EXPECT_EQ(normalize_answer("the_end"), "theend");
  EXPECT_EQ(normalize_answer("(a) b"), "b");
}

TEST(NormalizeAnswer, KeepsPunctuationOutsideAscii) {
  EXPECT_EQ(normalize_answer("€5"), "€5");
  EXPECT_EQ(normalize_answer("the–end"), "–end");  // an en dash bounds the article
  EXPECT_EQ(normalize_answer("“the”"), "“ ”");
}

TEST(NormalizeAnswer, SeesWordsAsUnicodeDoes) {
  EXPECT_EQ(normalize_answer("Éa b"), "éa b");           // a letter: no word boundary
  EXPECT_EQ(normalize_answer("a² b"), "a² b");           // so is a superscript
  EXPECT_EQ(normalize_answer("a\u0301 b"), "\u0301 b");  // a combining accent is none
  EXPECT_EQ(normalize_answer("x\u00A0y\u3000z"), "x y z");
  EXPECT_EQ(normalize_answer("x\u200By"), "x\u200By");  // zero width space is not a space
}

TEST(EvaluateV1, TakesTheBestOfSeveralAnswers) {
  const Dataset dataset = questions({question("1", {"Denver", "the Denver Broncos"}),
                                     question("2", {"in 1996"}), question("3", {"x y z"})});
  const Metrics metrics =
      evaluate(dataset, Predictions{{"1", "Denver Broncos"}, {"2", "1996"}, {"3", "w"}});
  EXPECT_DOUBLE_EQ(metrics.all.exact_match, 100.0 / 3);
  EXPECT_DOUBLE_EQ(metrics.all.f1, 100.0 * (1 + 2.0 / 3 + 0) / 3);
  EXPECT_EQ(metrics.all.total, 3u);
  EXPECT_TRUE(metrics.missing.empty());
  EXPECT_FALSE(metrics.has_answer || metrics.no_answer || metrics.best);
}

TEST(EvaluateV1, CountsRepeatedWordsAsOftenAsBothHaveThem) {
  const Dataset dataset = questions({question("1", {"x x y"})});
  const Metrics metrics = evaluate(dataset, Predictions{{"1", "x x x"}});
  EXPECT_DOUBLE_EQ(metrics.all.f1, 100.0 * 2 / 3);
}

TEST(EvaluateV1, GivesTwoEmptyAnswersAnExactMatchButNoF1) {
  const Dataset dataset = questions({question("1", {"the"})});
  const Metrics metrics = evaluate(dataset, Predictions{{"1", "a"}});
  EXPECT_DOUBLE_EQ(metrics.all.exact_match, 100);
  EXPECT_DOUBLE_EQ(metrics.all.f1, 0);
}

TEST(EvaluateV1, CountsAMissingPredictionAsWrong) {
  const Dataset dataset = questions({question("1", {"x"}), question("2", {"y"})});
  const Metrics metrics = evaluate(dataset, Predictions{{"1", "x"}, {"unknown", "y"}});
  EXPECT_DOUBLE_EQ(metrics.all.exact_match, 50);
  EXPECT_EQ(metrics.all.total, 2u);
  EXPECT_THAT(metrics.missing, testing::ElementsAre("2"));
}

TEST(EvaluateV1, RefusesWhatCannotBeScored) {
  EXPECT_THROW(evaluate(Dataset(), {}), Error);
  EXPECT_THROW(evaluate(questions({question("1", {})}), Predictions{{"1", "x"}}), Error);
}

TEST(EvaluateV2, TellsQuestionsWithAndWithoutAnswerApart) {
  const Dataset dataset =
      questions({question("1", {"x y"}), question("2", {"z"}), impossible("3"), impossible("4")});
  const Metrics metrics =
      evaluate(dataset, Predictions{{"1", "x"}, {"2", "z"}, {"3", ""}, {"4", "w"}});
  EXPECT_DOUBLE_EQ(metrics.all.exact_match, 50);
  EXPECT_DOUBLE_EQ(metrics.all.f1, 100.0 * (2.0 / 3 + 1 + 1 + 0) / 4);
  EXPECT_DOUBLE_EQ(metrics.has_answer->exact_match, 50);
  EXPECT_EQ(metrics.has_answer->total, 2u);
  EXPECT_DOUBLE_EQ(metrics.no_answer->f1, 50);
  EXPECT_EQ(metrics.no_answer->total, 2u);
  EXPECT_FALSE(metrics.best);
}

TEST(EvaluateV2, LeavesOutAnswersThatNormalizeToNothing) {
  const Dataset dataset =
      questions({question("1", {"the", "x"}), question("2", {"the"}), impossible("3")});
  const Metrics metrics = evaluate(dataset, Predictions{{"1", "a"}, {"2", "an"}, {"3", ""}});
  EXPECT_DOUBLE_EQ(metrics.has_answer->exact_match, 50);  // "2" has none left but ""
  EXPECT_DOUBLE_EQ(metrics.has_answer->f1, 50);
}

TEST(EvaluateV2, FindsTheThresholdsThatScoreBest) {
  const Dataset dataset =
      questions({question("1", {"x y"}), question("2", {"z"}), impossible("3"), impossible("4")});
  const Predictions predictions = {{"1", "x"}, {"2", "z"}, {"3", "v"}, {"4", "w"}};
  const Scores scores = {{"1", -3.0}, {"2", -1.0}, {"3", -2.0}, {"4", 0.5}};
  const Metrics metrics = evaluate(dataset, predictions, scores);
  // Up to -1: "2" right, "3" lost, "4" kept as ""; "1" gives two thirds of F1.
  EXPECT_DOUBLE_EQ(metrics.best->exact_match, 50);
  EXPECT_DOUBLE_EQ(metrics.best->exact_match_threshold, 0);
  EXPECT_DOUBLE_EQ(metrics.best->f1, 100.0 * (2 + 2.0 / 3) / 4);
  EXPECT_DOUBLE_EQ(metrics.best->f1_threshold, -3);
}

TEST(EvaluateV2, AnswersNothingAboveTheThreshold) {
  const Dataset dataset = questions({question("1", {"x"}), impossible("2")});
  const Predictions predictions = {{"1", "x"}, {"2", "w"}};
  const Scores scores = {{"1", 1.0}, {"2", 2.0}};
  EXPECT_DOUBLE_EQ(evaluate(dataset, predictions, scores).all.exact_match, 100);
  EXPECT_DOUBLE_EQ(evaluate(dataset, predictions, scores, 0.5).all.exact_match, 50);
  EXPECT_DOUBLE_EQ(evaluate(dataset, predictions, scores, 2.0).all.exact_match, 50);
  EXPECT_DOUBLE_EQ(evaluate(dataset, predictions, {}, -5.0).all.exact_match, 50);
}

TEST(EvaluateV2, CountsAMissingPredictionAsWrongThereToo) {
  const Dataset dataset = questions({question("1", {"x"}), impossible("2"), impossible("3")});
  const Metrics metrics = evaluate(dataset, Predictions{{"2", ""}}, Scores{{"2", 0.0}});
  EXPECT_DOUBLE_EQ(metrics.all.exact_match, 100.0 / 3);
  EXPECT_DOUBLE_EQ(metrics.no_answer->exact_match, 50);
  EXPECT_DOUBLE_EQ(metrics.best->exact_match, 100.0 / 3);
  EXPECT_THAT(metrics.missing, testing::ElementsAre("1", "3"));
}

TEST(EvaluateV2, RefusesAPredictionWithoutScoreWhereOthersHaveOne) {
  const Dataset dataset = questions({question("1", {"x"}), impossible("2")});
  EXPECT_THROW(evaluate(dataset, Predictions{{"1", "x"}, {"2", ""}}, Scores{{"1", 0.0}}), Error);
}

TEST(EvaluateSquad, GivesPublishedPredictionsTheirFigures) {
  BERTRAND_NEEDS_SHARED("data/squad/predictions/bert-ensemble.json");
  const auto squad = test::shared_folder() / "data/squad";
  const Dataset dataset = read_answers(squad / "dev-v1.1.json");
  const Score bert = evaluate(dataset, read_json(squad / "predictions/bert-ensemble.json")).all;
  EXPECT_NEAR(bert.exact_match, 86.2062, 5e-5);
  EXPECT_NEAR(bert.f1, 92.1956, 5e-5);
  const Score lstm = evaluate(dataset, read_json(squad / "predictions/match-lstm.json")).all;
  EXPECT_NEAR(lstm.exact_match, 67.6348, 5e-5);
  EXPECT_NEAR(lstm.f1, 76.7556, 5e-5);
}

TEST(EvaluateSquad, GivesTheReferenceModelItsFigures) {
  BERTRAND_NEEDS_SHARED("data/golden/minilm/predictions.json");
  const auto data = test::shared_folder() / "data";
  const Dataset dataset = read_answers(data / "squad/dev-v1.1.json");
  const Score score = evaluate(dataset, read_json(data / "golden/minilm/predictions.json")).all;
  std::ifstream file(data / "golden/minilm/result.json");
  const auto result = nlohmann::json::parse(file);
  EXPECT_DOUBLE_EQ(score.exact_match, result.at("exact_match").get<double>());
  EXPECT_NEAR(score.f1, result.at("f1").get<double>(), 1e-9);
}

}  // namespace
}  // namespace bertrand
