#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <unordered_map>

#include "base/files.h"
#include "squad/answers.h"
#include "squad/dataset.h"

namespace bertrand {

// The files of a run over a data set, in the form of the reference's: Python's json.dumps with an
// indent of 4, ASCII only, a line feed at the end, questions in the order of the data set.
// `predictions` are those of dataset.examples, one each.

/// predictions.json: {"id": "answer"}.
void write_predictions(AtomicFile& file, const Dataset& dataset,
                       std::span<const Prediction> predictions);

/// nbest_predictions.json: {"id": [{"text", "probability", "start_logit", "end_logit"}]}.
void write_n_best(AtomicFile& file, const Dataset& dataset,
                  std::span<const Prediction> predictions);

/// null_odds.json: {"id": Prediction::no_answer_score}.
void write_no_answer_scores(AtomicFile& file, const Dataset& dataset,
                            std::span<const Prediction> predictions);

/// Reads predictions.json. Throws Error (bad_input) naming the file and the byte where it is not
/// JSON, or the id whose value is not a string.
std::unordered_map<std::string, std::string> read_predictions(const std::filesystem::path& path);

/// Reads null_odds.json, or any other {"id": number}; Error as above.
std::unordered_map<std::string, double> read_no_answer_scores(const std::filesystem::path& path);

}  // namespace bertrand
