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

/// What one optimizer step saw and did.
struct TrainStep {
  uint64_t step = 0;         ///< steps made, this one included
  double loss = 0;           ///< mean over the step's windows
  double learning_rate = 0;  ///< of this step
  double gradient_norm = 0;  ///< before clipping
  size_t windows = 0;
  size_t tokens = 0;
};

/// Cuts a batch into what is computed at once: at least `parts` pieces (where there are as many
/// windows), each of at most `tokens` tokens but for a longer window, alike in tokens.
std::vector<std::vector<uint32_t>> micro_batches(std::span<const uint32_t> batch,
                                                 std::span<const uint32_t> lengths, size_t tokens,
                                                 size_t parts);

/// Makes a recipe's steps, one at a time. Where the run stands is the engine's count of steps, so
/// an engine with restored weights and moments goes on where it stopped.
class Trainer {
 public:
  /// The windows' ids must live as long; the engine has its weights (and moments) already.
  Trainer(Engine& engine, std::span<const Window> windows, const Recipe& recipe,
          ProcessPlace place = {});

  const Recipe& recipe() const { return recipe_; }
  const ScheduleCounts& counts() const { return counts_; }
  const Engine& engine() const { return engine_; }
  uint64_t steps() const { return engine_.steps(); }
  bool finished() const { return steps() >= counts_.steps; }
  uint64_t epoch() const { return steps() / counts_.steps_per_epoch; }

  /// Makes one step. `stop` is asked before each micro-batch; where it says true no step is made,
  /// nothing is returned, and the engine's weights and moments are those of steps(). Throws Error
  /// (runtime), naming the step, where the loss or the gradient is not finite: weights and moments
  /// are then those of steps(), too.
  std::optional<TrainStep> step(const std::function<bool()>& stop = {});

 private:
  void order_epoch(uint64_t epoch);

  Engine& engine_;
  std::span<const Window> windows_;
  std::vector<uint32_t> lengths_;
  Recipe recipe_;
  ProcessPlace place_;
  ScheduleCounts counts_;
  EpochOrder order_;
  std::optional<uint64_t> ordered_epoch_;
};

}  // namespace bertrand
