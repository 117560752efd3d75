#pragma once

#include <memory>
#include <vector>

#include "engine/engine.h"
#include "engine/fastest_precision.h"

namespace bertrand {

struct CpuOptions {
  unsigned threads = 1;
  Precision precision = Precision::fp32;  ///< of the four matrix products of a layer
  bool library_bf16 = false;  ///< bf16 by oneDNN even where ours are faster; to compare and test
};

/// True where the machine multiplies bf16 (AVX512_BF16 or AMX).
bool cpu_multiplies_bf16();

/// What `auto` stands for on this CPU: fp32 or bf16, whichever is faster with so many threads.
/// Never int8, which changes answers more than a wish for speed says.
PrecisionChoice fastest_cpu_precision(const BertConfig& config, unsigned threads, Purpose purpose);

using CpuEngineWithStates = EngineWithStates;

/// BERT on the CPU, forward and backward derived by hand, over packed tokens: no padding is
/// computed. Throws Error (usage) where the precision is not supported by this CPU, or is `auto`.
std::unique_ptr<CpuEngineWithStates> make_cpu_engine(const BertConfig& config,
                                                     const CpuOptions& options);

}  // namespace bertrand
