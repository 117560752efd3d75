#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "squad/dataset.h"
#include "squad/windows.h"
#include "text/tokenizer.h"

namespace bertrand {

struct AnswerOptions {
  size_t n_best = 20;  ///< starts and ends looked at in a window, and answers kept
  uint32_t max_answer_tokens = 30;
  bool allow_no_answer = false;    ///< SQuAD v2.0: "" competes with the score of [CLS]
  double no_answer_threshold = 0;  ///< "" wins where its score less the best answer's is above this
};

/// One possible answer.
struct Candidate {
  std::string text;
  double probability = 0;  ///< softmax over the candidates kept
  float start_logit = 0;
  float end_logit = 0;
  uint32_t begin = 0;  ///< where the text stands in the context, in code points: [begin, end);
  uint32_t end = 0;    ///< 0, 0 for "" and "empty"
};

/// What is answered to one question, best first.
struct Prediction {
  std::string text;
  std::vector<Candidate> n_best;
  double no_answer_score =
      0;  ///< v2.0: score of "" less that of the best answer, as in null_odds.json
};

/// The logits of one window, over all its tokens; [T] each.
struct WindowLogits {
  Window window;
  std::span<const float> start;
  std::span<const float> end;
};

/// Joins the windows of one question into its answers. Deterministic: all sorts are stable.
/// Source: Devlin et al.'s run_squad.py, write_predictions and get_final_text.
Prediction answer_question(const Dataset& dataset, const Example& example,
                           std::span<const WindowLogits> windows, const Tokenizer& tokenizer,
                           const AnswerOptions& options);

}  // namespace bertrand
