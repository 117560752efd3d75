#pragma once

#include <cstddef>
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

}  // namespace bertrand::cli
