#include "train/trainer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include <fmt/format.h>

#include "base/error.h"

namespace bertrand {
namespace {

/// Questions that gave at least one window; those of one question follow one another.
uint64_t count_examples(std::span<const Window> windows) {
  uint64_t examples = 0;
  for (size_t i = 0; i < windows.size(); ++i) {
    examples += i == 0 || windows[i].example != windows[i - 1].example ? 1U : 0U;
  }
  return examples;
}

/// Of fp16, in a row: as many as there are scales of losses to try, and some.
constexpr unsigned kMostSkipped = 20;

}  // namespace

std::vector<std::vector<uint32_t>> micro_batches(std::span<const uint32_t> batch,
                                                 std::span<const uint32_t> lengths, size_t tokens,
                                                 size_t parts) {
  size_t all = 0;
  for (const uint32_t window : batch) {
    all += lengths[window];
  }
  const size_t pieces = std::max(parts, (all + tokens - 1) / tokens);
  std::vector<std::vector<uint32_t>> result;
  size_t in_piece = tokens + 1;  // so that the first window opens one
  size_t before = 0;
  for (size_t i = 0; i < batch.size(); ++i) {
    const uint32_t window = batch[i];
    const size_t length = lengths[window];
    // A piece ends where its share of all tokens is reached, to the nearer side, and where each
    // window left must be a piece for there to be enough.
    const size_t share = all * result.size() / pieces;
    const bool reached = before + length / 2 >= share;
    const bool needed = result.size() + batch.size() - i <= parts;
    if (in_piece + length > tokens || reached || needed) {
      result.emplace_back();
      in_piece = 0;
    }
    result.back().push_back(window);
    in_piece += length;
    before += length;
  }
  return result;
}

Trainer::Trainer(Engine& engine, std::span<const Window> windows, const Recipe& recipe,
                 ProcessGroup* group)
    : engine_(engine),
      windows_(windows),
      recipe_(recipe),
      group_(group),
      place_(group == nullptr ? ProcessPlace() : group->place()) {
  check_recipe(recipe);
  if (windows.empty()) {
    throw Error(ErrorCode::bad_input, "The training data has no window to train on.");
  }
  lengths_.reserve(windows.size());
  for (const Window& window : windows) {
    lengths_.push_back(static_cast<uint32_t>(window.ids.size()));
  }
  counts_ = count_steps(recipe, count_examples(windows), windows.size(), place_.count);
}

void Trainer::order_epoch(uint64_t epoch) {
  if (ordered_epoch_ == epoch) {
    return;
  }
  order_ = recipe_.order == WindowOrder::torch
               ? torch_order(static_cast<uint32_t>(windows_.size()), recipe_.batch_size,
                             recipe_.seed, epoch, place_)
               : length_aware_order(lengths_, recipe_.batch_size, recipe_.seed, epoch, place_);
  ordered_epoch_ = epoch;
}

/// Adds the gradients of the batch, and its part of the loss, to those of this step; false where it
/// was told to stop.
bool Trainer::compute(std::span<const uint32_t> batch, TrainStep& result,
                      const StepQuestions& questions) {
  const Dropout dropout = {recipe_.seed, result.step - 1, recipe_.hidden_dropout,
                           recipe_.attention_dropout};
  // The batches of all processes are of one size: each takes as many windows of an epoch.
  const double weight = 1.0 / static_cast<double>(batch.size() * place_.count);
  PackedBatch packed;
  SpanTargets targets;
  for (const auto& piece :
       micro_batches(batch, lengths_, recipe_.micro_batch_tokens, recipe_.accumulation)) {
    if (questions.stop_now && questions.stop_now()) {
      return false;
    }
    packed.clear();
    targets.start.clear();
    targets.end.clear();
    for (const uint32_t index : piece) {
      const Window& window = windows_[index];
      packed.add(window.ids, window.document_begin, /*key=*/index);
      targets.start.push_back(window.start);
      targets.end.push_back(window.end);
    }
    result.tokens += packed.tokens();
    result.loss += engine_.backward(packed, targets, dropout, weight) * weight;
  }
  result.windows = batch.size();
  return true;
}

/// Makes `result` that of all processes, in one exchange; false where one of them stops now.
bool Trainer::agree(bool stops_now, TrainStep& result) const {
  if (group_ == nullptr) {
    return !stops_now;
  }
  std::array<double, 6> sums = {stops_now ? 1.0 : 0.0,
                                result.wishes.stop ? 1.0 : 0.0,
                                result.wishes.snapshot ? 1.0 : 0.0,
                                result.loss,
                                static_cast<double>(result.windows),
                                static_cast<double>(result.tokens)};
  group_->sum(sums);
  result.wishes = {sums[1] > 0, sums[2] > 0};
  result.loss = sums[3];
  result.windows = static_cast<size_t>(sums[4]);
  result.tokens = static_cast<size_t>(sums[5]);
  return sums[0] == 0;
}

bool Trainer::may_skip() const {
  return engine_.loss_scaling().has_value() && skipped_ < kMostSkipped;
}

/// All processes see it; rank 0 says it.
void Trainer::fail_not_finite(uint64_t step, const char* what, double value) const {
  const std::string fp16 =
      engine_.loss_scaling()
          ? fmt::format(
                ", after {} steps that were skipped. fp16 does not hold this model's "
                "numbers: give --precision bf16 or fp32. Else lower",
                skipped_)
          : ". Lower";
  throw Error(ErrorCode::runtime,
              place_.rank != 0 ? ""
                               : fmt::format("Step {}: the {} is not finite ({}){} "
                                             "--learning-rate, or check the model's weights.",
                                             step, what, value, fp16));
}

std::optional<TrainStep> Trainer::step(const StepQuestions& questions) {
  const uint64_t made = steps();
  order_epoch(epoch());
  TrainStep result;
  result.step = made + 1;
  result.learning_rate = learning_rate_at(recipe_, counts_, made);
  const bool computed = compute(order_.batch(made % counts_.steps_per_epoch), result, questions);
  if (computed && questions.wishes) {
    result.wishes = questions.wishes();
  }
  if (!agree(/*stops_now=*/!computed, result)) {
    return std::nullopt;
  }
  const bool loss_is_finite = std::isfinite(result.loss);
  if (!loss_is_finite && !may_skip()) {
    fail_not_finite(result.step, "loss", result.loss);
  }
  if (group_ != nullptr) {
    engine_.reduce_gradients(*group_);
  }
  const StepReport report = engine_.step(result.learning_rate, recipe_.optimizer);
  if (loss_is_finite && report.repeat) {
    return step(questions);  // with losses scaled by less; all processes see the same gradients
  }
  result.gradient_norm = report.gradient_norm;
  result.skipped = !loss_is_finite || !std::isfinite(result.gradient_norm);
  if (!result.skipped) {
    skipped_ = 0;
    return result;
  }
  if (!may_skip()) {
    fail_not_finite(result.step, "gradient", result.gradient_norm);
  }
  ++skipped_;
  if (steps() == made) {
    engine_.skip_step();
  }
  return result;
}

}  // namespace bertrand
