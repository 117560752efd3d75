#include "train/evaluation.h"

#include <string>
#include <unordered_map>
#include <vector>

namespace bertrand {

std::optional<Metrics> evaluate_engine(const Dataset& dataset, const Tokenizer& tokenizer,
                                       Engine& engine, PredictOptions options,
                                       const PredictProgress& progress,
                                       const std::function<int()>& signal) {
  struct Stopped {};
  const auto tell = [&](size_t done, size_t all) {
    if (progress) {
      progress(done, all);
    }
  };
  options.answers.allow_no_answer = dataset.has_impossible;
  std::vector<Prediction> predictions;
  try {
    predictions = predict(dataset, tokenizer, engine, options, [&](size_t done, size_t all) {
      tell(done, all);
      if (signal && signal() != 0) {
        tell(all, all);
        throw Stopped();
      }
    });
  } catch (const Stopped&) {
    return std::nullopt;
  }
  std::unordered_map<std::string, double> no_answer_scores;
  for (size_t i = 0; dataset.has_impossible && i < predictions.size(); ++i) {
    no_answer_scores[dataset.examples[i].id] = predictions[i].no_answer_score;
  }
  return evaluate(dataset, best_answers(dataset, predictions), no_answer_scores);
}

}  // namespace bertrand
