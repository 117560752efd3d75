#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "squad/dataset.h"

namespace bertrand {

/// Exact match and F1 over some questions, in percent.
struct Score {
  double exact_match = 0;
  double f1 = 0;
  size_t total = 0;
};

/// The best score any threshold on the no-answer score gives (v2.0 with no-answer scores).
struct BestThreshold {
  double exact_match = 0, exact_match_threshold = 0;
  double f1 = 0, f1_threshold = 0;
};

struct Metrics {
  Score all;
  std::optional<Score> has_answer;    ///< v2.0
  std::optional<Score> no_answer;     ///< v2.0
  std::optional<BestThreshold> best;  ///< v2.0 with no-answer scores
  std::vector<std::string> missing;   ///< ids without a prediction; they count as wrong
};

/// Compares predictions (by question id) with the data set's answers, as the official scripts do:
/// v1.1's where no question is impossible, else v2.0's. In v2.0 a question whose no-answer score
/// lies above `no_answer_threshold` counts as answered "". Throws Error (bad_input) where there is
/// no question at all, a v1.1 question has no answer to compare with, or a score is missing.
/// Source: Rajpurkar et al., evaluate-v1.1.py and evaluate-v2.0.py.
Metrics evaluate(const Dataset& dataset,
                 const std::unordered_map<std::string, std::string>& predictions,
                 const std::unordered_map<std::string, double>& no_answer_scores = {},
                 double no_answer_threshold = 1.0);

/// Throws Error (bad_input), naming file and place, where evaluate() would: there is no question,
/// or a v1.1 question has no answer to compare with.
void check_can_evaluate(const Dataset& dataset);

/// Lower-cased, without punctuation and articles, single spaces: what both scores compare.
std::string normalize_answer(std::string_view text);

}  // namespace bertrand
