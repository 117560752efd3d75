#include "squad/predictions.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "squad/json_fault.h"

namespace bertrand {
namespace {

using Json = nlohmann::json;

std::string json_string(const std::string& text) {
  return Json(text).dump(/*indent=*/-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

/// The shortest digits that read back as the same number, laid out as Python's repr() does.
std::string json_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  const double size = std::abs(value);
  const bool fixed = size == 0 || (size >= 1e-4 && size < 1e16);
  char digits[32];
  const auto [end, error] =
      std::to_chars(digits, digits + sizeof digits, value,
                    fixed ? std::chars_format::fixed : std::chars_format::scientific);
  std::string text(digits, end);
  if (fixed && text.find('.') == std::string::npos) text += ".0";
  return text;
}

/// Writes {"id": value} over all questions; `write` writes the value of one.
void write_object(AtomicFile& file, const Dataset& dataset, std::span<const Prediction> predictions,
                  const std::function<std::string(const Prediction&)>& value_of) {
  if (predictions.empty()) {
    file.write("{}\n");
    return;
  }
  std::string_view before = "{\n    ";
  for (size_t i = 0; i < predictions.size(); ++i) {
    file.write(before);
    file.write(json_string(dataset.examples[i].id));
    file.write(": ");
    file.write(value_of(predictions[i]));
    before = ",\n    ";
  }
  file.write("\n}\n");
}

std::string n_best_of(const Prediction& prediction) {
  std::string text = "[";
  std::string_view before = "\n        {\n";
  for (const Candidate& candidate : prediction.n_best) {
    text += before;
    text += "            \"text\": " + json_string(candidate.text);
    text += ",\n            \"probability\": " + json_number(candidate.probability);
    text += ",\n            \"start_logit\": " + json_number(candidate.start_logit);
    text += ",\n            \"end_logit\": " + json_number(candidate.end_logit);
    text += "\n        }";
    before = ",\n        {\n";
  }
  return text + "\n    ]";
}

Json read_object(const std::filesystem::path& path) {
  const std::string text = read_input(path);
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    throw Error(ErrorCode::bad_input,
                path.string() + ": " + describe_json_fault(text, "the parser refuses it") + ".");
  }
  if (!json.is_object()) {
    throw Error(ErrorCode::bad_input, path.string() +
                                          ": is not an object with a question id as each key; give "
                                          "a file that bertrand predict wrote, or one like it.");
  }
  return json;
}

}  // namespace

void write_predictions(AtomicFile& file, const Dataset& dataset,
                       std::span<const Prediction> predictions) {
  write_object(file, dataset, predictions,
               [](const Prediction& prediction) { return json_string(prediction.text); });
}

void write_n_best(AtomicFile& file, const Dataset& dataset,
                  std::span<const Prediction> predictions) {
  write_object(file, dataset, predictions, n_best_of);
}

void write_no_answer_scores(AtomicFile& file, const Dataset& dataset,
                            std::span<const Prediction> predictions) {
  write_object(file, dataset, predictions, [](const Prediction& prediction) {
    return json_number(prediction.no_answer_score);
  });
}

std::unordered_map<std::string, std::string> read_predictions(const std::filesystem::path& path) {
  std::unordered_map<std::string, std::string> predictions;
  const Json json = read_object(path);
  for (const auto& [id, answer] : json.items()) {
    if (!answer.is_string()) {
      throw Error(ErrorCode::bad_input, path.string() + ": the answer to question " + id +
                                            " is not a string; give a predictions.json.");
    }
    predictions.emplace(id, answer.get<std::string>());
  }
  return predictions;
}

std::unordered_map<std::string, double> read_no_answer_scores(const std::filesystem::path& path) {
  std::unordered_map<std::string, double> scores;
  const Json json = read_object(path);
  for (const auto& [id, score] : json.items()) {
    if (!score.is_number()) {
      throw Error(ErrorCode::bad_input, path.string() + ": the no-answer score of question " + id +
                                            " is not a number; give a null_odds.json.");
    }
    scores.emplace(id, score.get<double>());
  }
  return scores;
}

}  // namespace bertrand
