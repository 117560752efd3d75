#include "engine/engine.h"

#include <algorithm>
#include <cstddef>

#include "base/error.h"

namespace bertrand {

const char* name_of(Precision precision) {
  switch (precision) {
    case Precision::bf16:
      return "bf16";
    case Precision::int8:
      return "int8";
    case Precision::automatic:
      return "auto";
    case Precision::tf32:
      return "tf32";
    case Precision::fp16:
      return "fp16";
    default:
      return "fp32";
  }
}

Precision parse_precision(const std::string& name) {
  for (const Precision precision : {Precision::automatic, Precision::fp32, Precision::tf32,
                                    Precision::bf16, Precision::fp16, Precision::int8}) {
    if (name == name_of(precision)) {
      return precision;
    }
  }
  throw Error(ErrorCode::usage, "Precision \"" + name +
                                    "\" is not known; give auto, fp32, tf32, bf16, fp16 or int8.");
}

void check_batch(const PackedBatch& batch, const BertConfig& config) {
  for (size_t window = 0; window < batch.windows(); ++window) {
    const size_t length = batch.length(window);
    if (length == 0 || length > static_cast<size_t>(config.max_position_embeddings)) {
      throw Error(ErrorCode::runtime, "A window has " + std::to_string(length) +
                                          " tokens; this model takes 1 to " +
                                          std::to_string(config.max_position_embeddings) +
                                          ". Give a smaller --max-seq-length.");
    }
  }
  const auto is_outside = [](int32_t value, int64_t limit) { return value < 0 || value >= limit; };
  for (size_t token = 0; token < batch.tokens(); ++token) {
    if (is_outside(batch.ids[token], config.vocab_size) ||
        is_outside(batch.segments[token], std::min<int64_t>(2, config.type_vocab_size))) {
      throw Error(ErrorCode::runtime, "Token id " + std::to_string(batch.ids[token]) +
                                          " or its segment is not in the model's embeddings; the "
                                          "vocabulary does not fit the model.");
    }
  }
}

void check_targets(const PackedBatch& batch, const SpanTargets& targets) {
  for (size_t window = 0; window < batch.windows(); ++window) {
    for (const int32_t target : {targets.start[window], targets.end[window]}) {
      if (target < 0 || static_cast<size_t>(target) >= batch.length(window)) {
        throw Error(ErrorCode::runtime, "The answer of a window is at token " +
                                            std::to_string(target) + " of " +
                                            std::to_string(batch.length(window)) + ".");
      }
    }
  }
}

}  // namespace bertrand
