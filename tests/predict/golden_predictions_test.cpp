// The whole way from text to answers, against the answers of the reference system.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/thread_pool.h"
#include "checkpoint/model_folder.h"
#include "engine/cpu/cpu_engine.h"
#include "predict/model_tokenizer.h"
#include "predict/predictor.h"
#include "shared_data.h"
#include "squad/metrics.h"

namespace bertrand {
namespace {

constexpr const char* kAnswers = "data/golden/minilm/predictions.json";

/// Every question is asked where this is set, as `scripts/test --full` does; it takes some minutes.
bool all_questions() { return std::getenv("BERTRAND_LONG_TESTS") != nullptr; }

nlohmann::json read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

Dataset questions_of_dev() {
  Dataset dataset = Dataset::load(test::shared_folder() / "data/squad/dev-v1.1.json");
  if (all_questions()) return dataset;
  constexpr size_t kEvery = 100;  // so that each article has its part
  std::vector<Example> some;
  for (size_t i = 0; i < dataset.examples.size(); i += kEvery) {
    some.push_back(dataset.examples[i]);
  }
  std::printf("%zu of %zu questions; BERTRAND_LONG_TESTS=1 asks all.\n", some.size(),
              dataset.examples.size());
  dataset.examples = std::move(some);
  return dataset;
}

std::vector<Prediction> answers_to(const Dataset& dataset, const std::filesystem::path& model,
                                   Precision precision = Precision::fp32) {
  const unsigned threads = available_threads();
  const ModelFolder folder = ModelFolder::open(model);
  const Tokenizer tokenizer = load_tokenizer(folder, /*lower_case=*/true).tokenizer;
  const auto engine = make_cpu_engine(folder.config(), {threads, precision});
  engine->load_parameters(folder.parameters(/*seed=*/0));
  PredictOptions options;
  options.threads = threads;
  return predict(dataset, tokenizer, *engine, options);
}

/// The number behind `title` in the table of a model's card.
double figure_of_card(const std::filesystem::path& card, const std::string& title) {
  std::ifstream file(card);
  const std::string row = "| " + title + " | ";
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(row)) return std::stod(line.substr(row.size()));
  }
  ADD_FAILURE() << card << " has no row " << row;
  return 0;
}

TEST(GoldenPredictions, AreTheReferences) {
  BERTRAND_NEEDS_SHARED(kAnswers);
  const Dataset dataset = questions_of_dev();
  const std::vector<Prediction> predictions =
      answers_to(dataset, test::shared_folder() / "models/minilm-squad-reference");
  const auto expected = read_json(test::shared_folder() / kAnswers);
  ASSERT_EQ(predictions.size(), dataset.examples.size());
  size_t others = 0;
  for (size_t i = 0; i < predictions.size(); ++i) {
    const std::string& id = dataset.examples[i].id;
    if (predictions[i].text == expected.at(id).get<std::string>()) continue;
    ++others;
    std::printf("%s: \"%s\" instead of \"%s\"\n", id.c_str(), predictions[i].text.c_str(),
                expected.at(id).get<std::string>().c_str());
  }
  EXPECT_LE(others, predictions.size() / 1000);  // rounding may change one answer in a thousand
  if (all_questions()) {
    const Score score = evaluate(dataset, best_answers(dataset, predictions)).all;
    const auto result = read_json(test::shared_folder() / "data/golden/minilm/result.json");
    EXPECT_NEAR(score.f1, result.at("f1").get<double>(), 0.02);
    EXPECT_NEAR(score.exact_match, result.at("exact_match").get<double>(), 0.05);
  }
}

TEST(GoldenPredictions, TheEmbeddedModelIsAsGoodAsItsCardSays) {
  BERTRAND_NEEDS_SHARED("data/golden/minilm/result.json");
  const std::filesystem::path model = test::source_folder() / "models/minilm-l6-squad";
  const double f1 = figure_of_card(model / "README.md", "F1, SQuAD v1.1 dev");
  const double exact_match = figure_of_card(model / "README.md", "exact match, SQuAD v1.1 dev");
  const auto reference = read_json(test::shared_folder() / "data/golden/minilm/result.json");
  EXPECT_GT(f1, reference.at("f1").get<double>() + 1);
  const Dataset dataset = questions_of_dev();
  const Score score = evaluate(dataset, best_answers(dataset, answers_to(dataset, model))).all;
  // A part of the questions scores alike only roughly.
  EXPECT_NEAR(score.f1, f1, all_questions() ? 0.02 : 12);
  EXPECT_NEAR(score.exact_match, exact_match, all_questions() ? 0.05 : 14);
}

TEST(GoldenPredictions, In8BitsTheEmbeddedModelIsAlmostAsGood) {
  BERTRAND_NEEDS_SHARED("data/squad/dev-v1.1.json");
  const std::filesystem::path model = test::source_folder() / "models/minilm-l6-squad";
  const double f1 = figure_of_card(model / "README.md", "F1 with `--precision int8`");
  EXPECT_GE(f1, figure_of_card(model / "README.md", "F1, SQuAD v1.1 dev") - 0.3);
  const Dataset dataset = questions_of_dev();
  const auto predictions = answers_to(dataset, model, Precision::int8);
  const Score score = evaluate(dataset, best_answers(dataset, predictions)).all;
  EXPECT_NEAR(score.f1, f1, all_questions() ? 0.02 : 12);
}

}  // namespace
}  // namespace bertrand
