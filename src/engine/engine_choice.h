#pragma once

#include <filesystem>
#include <string>

namespace bertrand {

/// Where the numbers of a run are computed, and by what.
struct EngineChoice {
  std::string engine;              ///< "native", "torch"; empty: by device
  std::string device = "cpu";      ///< "cpu", "cuda", "cuda:1", "mlu:0"
  std::string dropout_key;         ///< "example", "device"; empty: by device
  std::filesystem::path plugin{};  ///< libbertrand_torch.so; empty: see TorchPlugin::open
  std::string library{};           ///< of a device that LibTorch does not bring itself

  /// Through LibTorch: asked for, or the device is not the CPU.
  bool is_torch() const { return engine == "torch" || device != "cpu"; }

  /// Dropout masks keyed by example, whatever the device; else the device draws them itself.
  bool example_masks() const {
    return dropout_key.empty() ? device == "cpu" : dropout_key == "example";
  }
};

/// "cuda" for the process that is the `local_rank`-th of this machine's: "cuda:1". A device with a
/// number, and the CPU, stay as they are.
std::string device_of_process(const std::string& device, unsigned local_rank);

/// Throws Error (usage) where the parts do not go together, naming the flag.
void check_engine_choice(const EngineChoice& choice);

}  // namespace bertrand
