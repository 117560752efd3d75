#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/findings.h"
#include "model/config.h"

namespace bertrand {

/// What a checkpoint, a model folder or a snapshot holds.
struct Inspection {
  std::shared_ptr<const Checkpoint> weights;
  std::shared_ptr<const Checkpoint> optimizer;  ///< beside the weights of a snapshot, or none
  std::vector<Checkpoint::File> files;
  std::filesystem::path folder;  ///< where a model folder or a snapshot was looked at; else empty
  std::optional<BertConfig> config;
  std::filesystem::path config_path;
  bool has_span_head = false;  ///< known only where there is a config
  std::string training;        ///< training.json of a snapshot, as JSON; empty elsewhere
  Findings notes;
  Findings problems;  ///< why it cannot be used as it is
};

/// Looks at a checkpoint or a folder; of a run that has only a snapshot yet, at that. With `check`,
/// all values of the model and of a snapshot's optimizer are read: checksums are compared, and
/// values that are no finite numbers are problems. What is wrong with the weights is thrown, as
/// by open_checkpoint; all else (a config that is absent, or does not fit) is a problem. A file
/// that is not the weights of the folder it lies in need not have all parameters of the config
/// there.
Inspection inspect(const std::filesystem::path& path, bool check);

}  // namespace bertrand
