#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/error.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/tensor.h"
#include "engine/engine.h"
#include "train/recipe.h"

namespace bertrand {

/// What a run was begun with, and how far it came.
struct RunState {
  Recipe recipe;
  std::string model_fingerprint;  ///< of the model's first weights
  std::string data_fingerprint;   ///< of all windows trained on
  unsigned threads = 1;
  unsigned processes = 1;
  std::string dropout_key;  ///< "example" or "device"; empty in snapshots of earlier programs
  uint64_t steps = 0;
  double seconds = 0;                       ///< of training, over all parts of the run
  double mean_loss = 0;                     ///< of the last steps
  DataType weights_type = DataType::f32;    ///< of the file written at the end
  std::optional<LossScaling> loss_scaling;  ///< of a snapshot of a run in fp16
};

/// Writes a model folder (f32) with optimizer.safetensors (the moments: "first.NAME",
/// "second.NAME") and training.json beside the weights: all that is needed to go on bit for bit,
/// and a model that can be used. It replaces an earlier one, whole or not at all, and one that was
/// set aside beside it. `contents` says what the model folder is made of; its type is not looked
/// at.
void write_snapshot(const std::filesystem::path& path, const Engine& engine,
                    const ModelFolderContents& contents, const RunState& state);

/// The snapshot `path`, or what a kill in the middle of replacing it left; empty where there is
/// none. Puts things in order: afterwards the snapshot is under its name and nothing is beside it.
bool find_snapshot(const std::filesystem::path& path);

/// Whether there is one under the name `path` itself. Changes nothing.
bool has_snapshot(const std::filesystem::path& path);

/// The same error, and, where there is a snapshot, which one is left to go on from.
Error telling_of_snapshot(const Error& error, const std::filesystem::path& path);

/// Throws Error (bad_input) naming file and key.
RunState read_snapshot_state(const std::filesystem::path& path);

/// Weights, moments and steps into an engine of the same config.
void load_snapshot(const std::filesystem::path& path, const RunState& state, Engine& engine);

/// Empty where `now` may go on from `saved`; else a sentence saying what differs.
std::string difference(const RunState& saved, const RunState& now);

/// Warns where `now` goes on from `saved` with weights that will be others than those of an
/// uninterrupted run.
void tell_other_bits(const RunState& saved, const RunState& now);

}  // namespace bertrand
