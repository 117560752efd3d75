#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "checkpoint/model_folder.h"
#include "train/progress.h"
#include "train/run_log.h"
#include "train/snapshot.h"
#include "train/trainer.h"

namespace bertrand {

struct RunOptions {
  std::filesystem::path snapshot;  ///< folder to keep the snapshot in
  uint64_t snapshot_every = 0;     ///< steps between snapshots; 0: by time alone
  double snapshot_minutes = 15;    ///< minutes between snapshots; 0: by steps alone
  uint64_t log_every = 1;          ///< steps told in one event
  uint64_t stop_after_steps = 0;   ///< steps to make now, then snapshot and stop; 0: to the end
  double stop_after_minutes = 0;   ///< the same in minutes
  /// The number of the signal that asks to stop, 0 while none does; asked between micro-batches.
  std::function<int()> signal;
  /// Called after each step with the seconds of training so far, over all parts of the run.
  std::function<void(const TrainStep& step, double seconds)> on_step;
};

enum class RunEnd {
  finished,  ///< all steps are made
  stopped,   ///< as asked; a snapshot was written
};

/// Makes the trainer's steps until the end or until asked to stop, with events, progress and
/// snapshots; `state` holds what the run was begun with, and is brought up to date. `contents` is
/// what a snapshot's model folder is made of. An Error that stops the run says which snapshot is
/// still there. Of several processes each calls it: a signal to one of them stops all, minutes are
/// counted by rank 0, and rank 0 alone writes. `log` may be nullptr in the others.
RunEnd run_training(Trainer& trainer, RunState& state, const ModelFolderContents& contents,
                    RunLog* log, Progress& progress, const RunOptions& options);

}  // namespace bertrand
