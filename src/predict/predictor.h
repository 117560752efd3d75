#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/engine.h"
#include "squad/answers.h"
#include "squad/dataset.h"
#include "squad/windows.h"
#include "text/tokenizer.h"

namespace bertrand {

struct PredictOptions {
  WindowOptions windows;
  AnswerOptions answers;
  size_t batch_tokens = 4096;  ///< tokens computed at once; windows of like length go together
  unsigned threads = 1;        ///< for windows and answers; the engine has its own
  std::string model{};         ///< where the weights are from, for messages
  /// Called with what was met while the windows were made.
  std::function<void(const WindowReport&)> on_windows;
};

/// Called now and then with the number of windows done and of all.
using PredictProgress = std::function<void(size_t done, size_t all)>;

/// Answers every question of the data set; [examples], in its order. A question about an empty
/// context is answered "".
std::vector<Prediction> predict(const Dataset& dataset, const Tokenizer& tokenizer, Engine& engine,
                                const PredictOptions& options,
                                const PredictProgress& progress = {});

/// The best answers by question id, as evaluate() takes them.
std::unordered_map<std::string, std::string> best_answers(
    const Dataset& dataset, const std::vector<Prediction>& predictions);

}  // namespace bertrand
