#include <filesystem>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "answering.h"
#include "base/error.h"
#include "commands.h"
#include "predict/predictor.h"
#include "squad/metrics.h"
#include "squad/predictions.h"
#include "squad/question_list.h"

namespace bertrand::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Flags {
  fs::path data, predictions, no_answer_scores;
  double no_answer_threshold = 1.0;
  AnsweringFlags answering;
};

void add_score(Json& json, const std::string& name, const Score& score) {
  json[name + "_exact"] = score.exact_match;
  json[name + "_f1"] = score.f1;
  json[name + "_total"] = score.total;
}

/// The names are those of the official scripts, but that both have exact_match.
Json to_json(const Metrics& metrics) {
  Json json;
  json["exact_match"] = metrics.all.exact_match;
  json["f1"] = metrics.all.f1;
  json["total"] = metrics.all.total;
  if (metrics.has_answer) add_score(json, "HasAns", *metrics.has_answer);
  if (metrics.no_answer) add_score(json, "NoAns", *metrics.no_answer);
  if (metrics.best) {
    json["best_exact"] = metrics.best->exact_match;
    json["best_exact_thresh"] = metrics.best->exact_match_threshold;
    json["best_f1"] = metrics.best->f1;
    json["best_f1_thresh"] = metrics.best->f1_threshold;
  }
  return json;
}

Metrics evaluate_file(const Flags& flags, const Dataset& dataset) {
  std::unordered_map<std::string, double> scores;
  if (!flags.no_answer_scores.empty() && !dataset.has_impossible) {
    throw Error(ErrorCode::usage, "--na-prob-file: is for SQuAD v2.0, and every question of " +
                                      dataset.where + " has an answer; leave it out.");
  }
  if (!flags.no_answer_scores.empty()) scores = read_no_answer_scores(flags.no_answer_scores);
  Metrics metrics =
      evaluate(dataset, read_predictions(flags.predictions), scores, flags.no_answer_threshold);
  if (!metrics.missing.empty()) {
    spdlog::warn("{}: has no answer to {}; that counts as wrong.", flags.predictions.string(),
                 question_list(metrics.missing));
  }
  return metrics;
}

Metrics evaluate_model(const CLI::App& command, const Flags& flags, const Dataset& dataset) {
  const std::vector<Prediction> predictions = answer_all(command, flags.answering, dataset);
  std::unordered_map<std::string, double> scores;
  if (may_have_no_answer(flags.answering, dataset)) {
    for (size_t i = 0; i < predictions.size(); ++i) {
      scores.emplace(dataset.examples[i].id, predictions[i].no_answer_score);
    }
  }
  // The answers say already where there is none: no threshold is to be applied again.
  return evaluate(dataset, best_answers(dataset, predictions), scores,
                  std::numeric_limits<double>::infinity());
}

void evaluate_command(const CLI::App& command, const Flags& flags) {
  const Dataset dataset = Dataset::load(flags.data);
  check_can_evaluate(dataset);  // before the hours it may take to answer
  const Metrics metrics = flags.predictions.empty() ? evaluate_model(command, flags, dataset)
                                                    : evaluate_file(flags, dataset);
  print_result(to_json(metrics).dump() + "\n");
}

}  // namespace

void add_evaluate(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("evaluate", "Exact match and F1 of a model, or of predictions in a file");
  const auto flags = std::make_shared<Flags>();
  command->add_option("--data", flags->data, "SQuAD file (JSON) with answers, v1.1 or v2.0")
      ->required()
      ->type_name("FILE");
  auto* predictions =
      command
          ->add_option("--predictions", flags->predictions,
                       "predictions.json of any program, instead of a model's answers")
          ->type_name("FILE");
  auto* scores =
      command
          ->add_option("--na-prob-file", flags->no_answer_scores,
                       "null_odds.json beside it, to find the best thresholds of SQuAD v2.0")
          ->needs(predictions)
          ->type_name("FILE");
  command
      ->add_option("--na-prob-thresh", flags->no_answer_threshold,
                   "A question whose score in --na-prob-file is above this counts as answered \"\"")
      ->needs(scores)
      ->type_name("NUMBER")
      ->capture_default_str();
  const size_t own = command->get_options().size();
  add_answering_flags(*command, flags->answering);
  const std::vector<CLI::Option*> options = command->get_options();
  for (CLI::Option* option : std::span(options).subspan(own)) {
    option->excludes(predictions);  // how a model answers says nothing of answers in a file
  }
  command->callback([command, flags] { evaluate_command(*command, *flags); });
}

}  // namespace bertrand::cli
