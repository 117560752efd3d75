#include "checkpoint/converted_config.h"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

namespace bertrand {
namespace {

using nlohmann::ordered_json;

constexpr std::array<const char*, 3> kClassifiers = {
    "BertForSequenceClassification", "BertForTokenClassification", "BertForMultipleChoice"};

constexpr const char* kSpans = "BertForQuestionAnswering";

/// What transformers' PretrainedConfig and BertConfig have for classifiers.
constexpr std::array<const char*, 4> kClassifierKeys = {"classifier_dropout", "id2label",
                                                        "label2id", "problem_type"};
constexpr int64_t kClasses = 2;         // that transformers supposes
constexpr int64_t kMostClasses = 1000;  // that are named here

const Weight* find(const std::vector<Weight>& weights, std::string_view begin) {
  const auto found = std::find_if(weights.begin(), weights.end(), [&](const Weight& weight) {
    return weight.info.name.starts_with(begin);
  });
  return found == weights.end() ? nullptr : &*found;
}

/// The class of the given config where that is one with a classifier: the tensors of all are called
/// alike. Else empty.
std::string classifier_class(const ordered_json& given) {
  const auto named = given.find("architectures");
  if (named != given.end() && named->is_array() && !named->empty()) {
    for (const char* name : kClassifiers) {
      if (named->front() == name) return name;
    }
  }
  return "";
}

std::string class_of(const std::vector<Weight>& weights, const ordered_json& given) {
  const bool classifies = find(weights, "classifier.") != nullptr;
  std::string named = classifies ? classifier_class(given) : "";
  if (!named.empty()) return named;
  if (find(weights, "qa_outputs.") != nullptr) return kSpans;
  if (classifies) return kClassifiers[0];
  const bool predicts = find(weights, "cls.predictions.") != nullptr;
  const bool relates = find(weights, "cls.seq_relationship.") != nullptr;
  if (predicts && relates) return "BertForPreTraining";
  if (predicts) return "BertForMaskedLM";
  return relates ? "BertForNextSentencePrediction" : "BertModel";
}

/// As many classes as the classifier has rows, by the names that transformers makes up.
void add_classes(ordered_json& config, int64_t classes) {
  for (int64_t i = 0; i < classes; ++i) {
    const std::string label = "LABEL_" + std::to_string(i);
    config["id2label"][std::to_string(i)] = label;
    config["label2id"][label] = i;
  }
}

/// A span head has as many outputs as the config has classes, so with one there must be two.
void keep_classes(ordered_json& config, const ordered_json& given, int64_t classes) {
  if (config["architectures"][0] == kSpans && classes != kClasses) return;
  for (const char* key : kClassifierKeys) {
    if (const auto value = given.find(key); value != given.end()) config[key] = *value;
  }
  if (!config.contains("id2label") && classes != kClasses && classes <= kMostClasses) {
    add_classes(config, classes);
  }
}

}  // namespace

std::string converted_config(const BertConfig& config, std::string_view given_text,
                             const std::vector<Weight>& weights) {
  const ordered_json given = ordered_json::parse(given_text);
  ordered_json result = ordered_json::parse(config.to_json());
  result["architectures"] = ordered_json::array({class_of(weights, given)});
  // Else transformers takes the embeddings for the decoder that is in the file.
  const auto tied = given.find("tie_word_embeddings");
  if (tied != given.end() && find(weights, "cls.predictions.decoder.weight") != nullptr) {
    result["tie_word_embeddings"] = *tied;
  }
  if (const Weight* rows = find(weights, "classifier.")) {  // weight or bias
    keep_classes(result, given, rows->info.shape.empty() ? 0 : rows->info.shape[0]);
  }
  return result.dump(/*indent=*/2) + "\n";
}

}  // namespace bertrand
