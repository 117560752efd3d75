#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

#include <CLI/CLI.hpp>

#include "common.h"
#include "squad/answers.h"
#include "squad/dataset.h"
#include "squad/windows.h"

namespace bertrand::cli {

/// What a command that answers a whole data set needs: the model, the windows, the answers.
struct AnsweringFlags {
  ModelFlags model;
  WindowOptions windows;
  AnswerFlags answers;
  size_t batch_tokens = 4096;
};
void add_answering_flags(CLI::App& command, AnsweringFlags& flags);

/// Whether "" may be an answer: as the flags say, else where the data is SQuAD v2.0.
bool may_have_no_answer(const AnsweringFlags& flags, const Dataset& dataset);

/// Loads the model and answers every question, telling progress and what was met on the way.
std::vector<Prediction> answer_all(const CLI::App& command, const AnsweringFlags& flags,
                                   const Dataset& dataset);

/// Says which questions are about an empty context.
void tell_empty_contexts(const WindowReport& report);

/// predictions.json, nbest_predictions.json and, where asked for, null_odds.json: all of them or
/// none appear, and `out` only with them.
void write_answers(const std::filesystem::path& out, const Dataset& dataset,
                   const std::vector<Prediction>& predictions, bool with_no_answer_scores);

}  // namespace bertrand::cli
