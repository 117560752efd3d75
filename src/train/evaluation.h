#pragma once

#include <functional>
#include <optional>

#include "engine/engine.h"
#include "predict/predictor.h"
#include "squad/dataset.h"
#include "squad/metrics.h"
#include "text/tokenizer.h"

namespace bertrand {

/// Exact match and F1 of the answers that the engine gives to a data set; whether there may be none
/// is what the data says. Nothing where `signal` (which may be empty) came up with one on the way;
/// `progress` (likewise) has then been told that all is done.
std::optional<Metrics> evaluate_engine(const Dataset& dataset, const Tokenizer& tokenizer,
                                       Engine& engine, PredictOptions options,
                                       const PredictProgress& progress,
                                       const std::function<int()>& signal);

}  // namespace bertrand
