#pragma once

#include <map>
#include <memory>
#include <string>

#include "engine/engine.h"
#include "engine/engine_choice.h"
#include "engine/fastest_precision.h"

namespace bertrand {

/// The engine chosen, without weights. Throws Error: what check_engine_choice() and the engine's
/// maker throw.
std::unique_ptr<Engine> make_engine(const BertConfig& config, const EngineChoice& choice,
                                    Precision precision, unsigned threads);

/// What Precision::automatic stands for there.
PrecisionChoice fastest_engine_precision(const BertConfig& config, const EngineChoice& choice,
                                         unsigned threads, Purpose purpose);

/// "native", or "LibTorch 2.15.0", for reports.
std::string engine_text(const EngineChoice& choice);

}  // namespace bertrand
