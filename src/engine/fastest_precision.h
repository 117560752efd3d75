#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "model/config.h"

namespace bertrand {

/// What an engine is to do.
enum class Purpose {
  answers,   ///< forward alone
  training,  ///< forward and backward
};

/// What Precision::automatic came to.
struct PrecisionChoice {
  struct Timed {
    Precision precision = Precision::fp32;
    double seconds = 0;  ///< the best of some repeats of the same work
  };

  Precision precision = Precision::fp32;
  std::vector<Timed> timed;  ///< empty where there was but one to choose from
};

/// "bf16 (fp32 8.1 ms, bf16 4.3 ms a layer)", or "fp32 (there is no other)".
std::string text_of(const PrecisionChoice& choice);

/// What is to be timed, and by what.
struct PrecisionTrial {
  std::span<const Precision> allowed;  ///< the first is kept unless another is clearly faster
  size_t tokens = 512;                 ///< computed at once, at most
  Purpose purpose = Purpose::answers;
  std::function<std::unique_ptr<Engine>(const BertConfig&, Precision)> make_engine;
  std::function<double()> seconds_now;  ///< a clock; empty: the steady one
};

/// Times one layer of the model's shapes, with random weights, in each of the allowed precisions by
/// turns, for some hundredths of a second. Another than the first is chosen only where it is a
/// tenth faster: less is noise, and not worth other bits. Throws what the engines throw.
PrecisionChoice fastest_precision(const BertConfig& config, const PrecisionTrial& trial);

}  // namespace bertrand
