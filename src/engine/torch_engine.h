#pragma once

#include <memory>
#include <string>

#include "engine/engine.h"
#include "engine/fastest_precision.h"
#include "engine/torch_plugin.h"

namespace bertrand {

struct TorchOptions {
  std::string device = "cpu";  ///< "cpu", "cuda", "cuda:1", "mlu:0"
  std::string library;  ///< of a device that LibTorch does not bring itself; empty: looked for
  Precision precision = Precision::fp32;
  /// Dropout masks as the native engine's, which are made on the CPU; else the device draws them.
  bool example_masks = true;
  unsigned threads = 1;  ///< of the CPU, where the device is that
};

/// BERT through LibTorch. Snapshots, weights and moments are those of the native engine. Throws
/// Error (usage) where there is no such device or it cannot compute in the precision.
std::unique_ptr<EngineWithStates> make_torch_engine(std::shared_ptr<const TorchPlugin> plugin,
                                                    const BertConfig& config,
                                                    const TorchOptions& options);

/// What `auto` stands for there: of fp32, tf32 on CUDA, and bf16 where the device multiplies it,
/// what is fastest.
PrecisionChoice fastest_torch_precision(const std::shared_ptr<const TorchPlugin>& plugin,
                                        const BertConfig& config, const TorchOptions& options,
                                        Purpose purpose);

}  // namespace bertrand
