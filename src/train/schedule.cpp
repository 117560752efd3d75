#include "train/schedule.h"

#include <algorithm>

namespace bertrand {

double warmup_linear(double x, double warmup) {
  // In this order: of -0 and 0, which are equal, max() gives the first.
  return x < warmup ? x / warmup : std::max(0.0, (x - 1) / (warmup - 1));
}

ScheduleCounts count_steps(const Recipe& recipe, uint64_t examples, uint64_t windows,
                           unsigned processes) {
  const auto divide_up = [](uint64_t a, uint64_t b) { return (a + b - 1) / b; };
  ScheduleCounts counts;
  counts.windows_per_step = uint64_t{processes} * recipe.batch_size;
  counts.windows_per_epoch = divide_up(windows, processes) * processes;
  counts.steps_per_epoch = divide_up(divide_up(windows, processes), recipe.batch_size);
  counts.steps = counts.steps_per_epoch * recipe.epochs;
  if (recipe.max_steps != 0) {
    counts.steps = std::min(counts.steps, recipe.max_steps);
  }
  counts.total = counts.steps;
  if (recipe.schedule_total == ScheduleTotal::examples) {
    const uint64_t part = recipe.batch_size / recipe.accumulation;
    counts.total = examples / (part * recipe.accumulation) * recipe.epochs / processes;
  }
  return counts;
}

uint64_t windows_of(const ScheduleCounts& counts, uint64_t steps) {
  return steps / counts.steps_per_epoch * counts.windows_per_epoch +
         steps % counts.steps_per_epoch * counts.windows_per_step;
}

double learning_rate_at(const Recipe& recipe, const ScheduleCounts& counts, uint64_t step) {
  if (counts.total == 0) {
    return 0;  // fewer questions than a batch holds
  }
  const double x = static_cast<double>(step) / static_cast<double>(counts.total);
  return recipe.learning_rate * warmup_linear(x, recipe.warmup);
}

}  // namespace bertrand
