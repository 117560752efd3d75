#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "squad/windows.h"
#include "train/order.h"
#include "train/recipe.h"
#include "train/schedule.h"

namespace bertrand {

/// What a process may want done after a step. All do what one of them wants.
struct StepWishes {
  bool stop = false;
  bool snapshot = false;
};

/// What one optimizer step saw and did, in all processes together.
struct TrainStep {
  uint64_t step = 0;         ///< steps made, this one included
  double loss = 0;           ///< mean over the step's windows
  double learning_rate = 0;  ///< of this step
  double gradient_norm = 0;  ///< before clipping
  size_t windows = 0;
  size_t tokens = 0;
  StepWishes wishes;
  bool skipped = false;  ///< in fp16 its numbers grew too large: weights and moments are as before
};

/// What a step asks the process it runs in; either may be empty.
struct StepQuestions {
  std::function<bool()> stop_now;      ///< before each micro-batch: stop without this step?
  std::function<StepWishes()> wishes;  ///< once, when its gradients are computed
};

/// Cuts a batch into what is computed at once: at least `parts` pieces (where there are as many
/// windows), each of at most `tokens` tokens but for a longer window, alike in tokens.
std::vector<std::vector<uint32_t>> micro_batches(std::span<const uint32_t> batch,
                                                 std::span<const uint32_t> lengths, size_t tokens,
                                                 size_t parts);

/// Makes a recipe's steps, one at a time. Where the run stands is the engine's count of steps, so
/// an engine with restored weights and moments goes on where it stopped.
///
/// With a process group each process computes its own batches of the epoch's order, and a step is
/// that of one process given all of them: the gradients are summed, each window weighs 1 / (windows
/// of all processes' batches), and dropout is keyed by window. All processes then hold the same
/// weights, bit for bit where their processors are alike.
class Trainer {
 public:
  /// The windows' ids must live as long, the group (nullptr: this process is alone) too; the engine
  /// has its weights (and moments) already.
  Trainer(Engine& engine, std::span<const Window> windows, const Recipe& recipe,
          ProcessGroup* group = nullptr);

  const Recipe& recipe() const { return recipe_; }
  const ScheduleCounts& counts() const { return counts_; }
  const Engine& engine() const { return engine_; }
  ProcessPlace place() const { return place_; }
  ProcessGroup* group() const { return group_; }
  uint64_t steps() const { return engine_.steps(); }
  bool finished() const { return steps() >= counts_.steps; }
  uint64_t epoch() const { return steps() / counts_.steps_per_epoch; }

  /// Makes one step. Where a process says to stop now no step is made in any, nothing is returned,
  /// and the engine's weights and moments are those of steps(); what it has of the batch's
  /// gradients stays, so no step is to follow. Throws Error (runtime), naming the step, where the
  /// loss or the gradient is not finite: weights and moments are then those of steps(), too. In
  /// fp16 such a step is skipped instead, but not many in a row. Throws what the group throws where
  /// a process is gone.
  std::optional<TrainStep> step(const StepQuestions& questions = {});

 private:
  void order_epoch(uint64_t epoch);
  bool compute(std::span<const uint32_t> batch, TrainStep& result, const StepQuestions& questions);
  bool agree(bool stops_now, TrainStep& result) const;
  bool may_skip() const;
  [[noreturn]] void fail_not_finite(uint64_t step, const char* what, double value) const;

  Engine& engine_;
  std::span<const Window> windows_;
  std::vector<uint32_t> lengths_;
  Recipe recipe_;
  ProcessGroup* group_;
  ProcessPlace place_;
  ScheduleCounts counts_;
  EpochOrder order_;
  std::optional<uint64_t> ordered_epoch_;
  unsigned skipped_ = 0;  // steps in a row
};

}  // namespace bertrand
