#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/bert_weights.h"
#include "model/config.h"

namespace bertrand {

/// The config.json of a converted model, for transformers: `architectures` is the class whose heads
/// are among the weights, and with a classifier goes what `given`, the config.json it came with (or
/// bert_config.json; valid), says of the classes and of the loss. Where there are a span head and a
/// classifier of more than two classes, which transformers cannot both have, it is the one that
/// `given` names, else the span head.
std::string converted_config(const BertConfig& config, std::string_view given,
                             const std::vector<Weight>& weights);

}  // namespace bertrand
