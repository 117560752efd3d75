#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/config.h"

namespace bertrand {

/// What a checkpoint, a model folder or a snapshot holds.
struct Inspection {
  std::string kind;  ///< of the weights: "safetensors"
  std::vector<Checkpoint::File> files;
  std::vector<TensorInfo> tensors;
  std::vector<TensorInfo> others;  ///< beside the model
  std::optional<BertConfig> config;
  std::filesystem::path config_path;
  bool has_span_head = false;  ///< known only where there is a config
  std::string training;        ///< training.json of a snapshot, as JSON; empty elsewhere
  std::vector<std::string> notes;
  std::vector<std::string> problems;  ///< why it cannot be used as it is
};

/// Looks at a checkpoint or a folder. With `check`, all values are read: checksums are compared,
/// and values that are no finite numbers are problems. What is wrong with the weights is thrown, as
/// by open_checkpoint; all else (a config that is absent, or does not fit) is a problem.
Inspection inspect(const std::filesystem::path& path, bool check);

}  // namespace bertrand
