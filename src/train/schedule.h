#pragma once

#include <cstdint>

#include "train/recipe.h"

namespace bertrand {

/// Part of the highest learning rate at `x` of the schedule (0 begin, 1 end): rises from 0 to 1 at
/// x = warmup, then falls to 0 at x = 1 and stays there: x / warmup, then
/// max((x - 1) / (warmup - 1), 0). Source: the schedule warmup_linear of BertAdam.
double warmup_linear(double x, double warmup);

/// How a run is counted, in optimizer steps.
struct ScheduleCounts {
  uint64_t windows_per_step = 0;   ///< of all processes; an epoch's last step may have fewer
  uint64_t windows_per_epoch = 0;  ///< with those that come twice so that each has as many
  uint64_t steps_per_epoch = 0;
  uint64_t steps = 0;  ///< that the run makes
  uint64_t total = 0;  ///< that the rate falls over
};

/// `examples` questions gave `windows` windows, shared by `processes` processes.
/// ScheduleTotal::examples: floor(examples / (batch / accumulation) / accumulation) x epochs,
/// divided by the processes (rounded down), whatever --max-steps is; batch / accumulation is
/// rounded down. ScheduleTotal::steps: the steps themselves.
ScheduleCounts count_steps(const Recipe& recipe, uint64_t examples, uint64_t windows,
                           unsigned processes);

/// Windows that the first `steps` steps of a run take, in whatever parts it was made.
uint64_t windows_of(const ScheduleCounts& counts, uint64_t steps);

/// The rate of the step after `step` steps. The first step's is 0.
double learning_rate_at(const Recipe& recipe, const ScheduleCounts& counts, uint64_t step);

}  // namespace bertrand
