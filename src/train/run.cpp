#include "train/run.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <optional>

#include "base/error.h"
#include "train/agreement.h"

namespace bertrand {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class Run {
 public:
  Run(Trainer& trainer, RunState& state, const ModelFolderContents& contents, RunLog* log,
      Progress& progress, const RunOptions& options)
      : trainer_(trainer),
        state_(state),
        contents_(contents),
        log_(log),
        progress_(progress),
        options_(options),
        begin_steps_(trainer.steps()),
        begin_seconds_(state.seconds) {}

  RunEnd go() {
    hold([this] { tell(begin_steps_ == 0 ? "begin" : "resume", begin_steps_); });
    const StepQuestions questions = {[this] { return failure_ || signalled(); },
                                     [this] { return wishes(); }};
    while (!trainer_.finished()) {
      const std::optional<TrainStep> step = trainer_.step(questions);
      if (!step) {
        return stop();
      }
      hold([&] { note(*step); });
      if (!trainer_.finished()) {
        if (step->wishes.stop || enough_steps()) {
          return stop();
        }
        if (step->wishes.snapshot || snapshot_is_due_by_steps()) {
          snapshot();
        }
      }
    }
    together(trainer_.group(), [this] { throw_held(); });
    return RunEnd::finished;
  }

 private:
  /// What goes wrong between steps, where one process writes, waits until all processes stop: the
  /// others would miss this one, and tell of that.
  template <typename Part>
  void hold(const Part& part) {
    try {
      part();
    } catch (const Error&) {
      failure_ = std::current_exception();
    }
  }

  void throw_held() const {
    if (failure_) std::rethrow_exception(failure_);
  }

  bool signalled() const { return options_.signal && options_.signal() != 0; }

  bool writes() const { return trainer_.place().rank == 0; }

  void tell(const char* event, uint64_t step) {
    if (log_ != nullptr) {
      log_->event(event, step, state_.seconds);
    }
  }

  /// Clocks differ: one process's counts.
  StepWishes wishes() const {
    if (trainer_.place().rank != 0) {
      return {};
    }
    const auto are_over = [now = seconds_now()](double minutes, double since) {
      return minutes > 0 && now - since >= 60 * minutes;
    };
    return {are_over(options_.stop_after_minutes, begin_time_),
            are_over(options_.snapshot_minutes, snapshot_time_)};
  }

  bool enough_steps() const {
    return options_.stop_after_steps != 0 &&
           trainer_.steps() - begin_steps_ >= options_.stop_after_steps;
  }

  bool snapshot_is_due_by_steps() const {
    return options_.snapshot_every != 0 && trainer_.steps() % options_.snapshot_every == 0;
  }

  void snapshot() {
    together(trainer_.group(), [this] {
      throw_held();
      save();
    });
  }

  void save() {
    progress_.clear();
    state_.seconds = elapsed();
    if (writes()) {
      write_snapshot(options_.snapshot, trainer_.engine(), contents_, state_);
    }
    snapshot_time_ = seconds_now();
    tell("snapshot", state_.steps);
  }

  RunEnd stop() {
    together(trainer_.group(), [this] {
      throw_held();
      if (span_steps_ != 0) {
        flush_span();
      }
      save();
      tell("stop", state_.steps);
    });
    return RunEnd::stopped;
  }

  double elapsed() const { return begin_seconds_ + seconds_now() - begin_time_; }

  void note(const TrainStep& step) {
    if (step.skipped) {
      return note_skipped(step);
    }
    // The mean of about the last hundred steps; of all of them while they are fewer.
    constexpr double kMeanSteps = 100;
    state_.mean_loss +=
        (step.loss - state_.mean_loss) / std::min(static_cast<double>(step.step), kMeanSteps);
    state_.steps = step.step;
    state_.seconds = elapsed();
    span_.last = step;
    span_.loss += step.loss;
    span_.windows += step.windows;
    span_.tokens += step.tokens;
    ++span_steps_;
    windows_ += step.windows;
    if (span_steps_ >= options_.log_every || trainer_.finished()) {
      flush_span();
    }
    show(step);
    if (options_.on_step) {
      options_.on_step(step, state_.seconds);
    }
  }

  /// It has no loss to tell of.
  void note_skipped(const TrainStep& step) {
    state_.steps = step.step;
    state_.seconds = elapsed();
    tell("skipped", step.step);
    if (span_steps_ != 0 && trainer_.finished()) {
      flush_span();
    }
  }

  void flush_span() {
    span_.epoch = (span_.last.step - 1) / trainer_.counts().steps_per_epoch;
    span_.loss /= static_cast<double>(span_steps_);
    span_.elapsed = elapsed();
    span_.seconds = span_.elapsed - span_begin_;
    if (log_ != nullptr) {
      log_->steps(span_);
    }
    span_begin_ = span_.elapsed;
    span_ = {};
    span_steps_ = 0;
  }

  void show(const TrainStep& step) {
    const double now = seconds_now();
    const double spent = std::max(now - begin_time_, 1e-9);
    const auto made = static_cast<double>(step.step - begin_steps_);
    const auto left = static_cast<double>(trainer_.counts().steps - step.step);
    ProgressState state;
    state.done = step.step;
    state.all = trainer_.counts().steps;
    state.loss = state_.mean_loss;
    state.learning_rate = step.learning_rate;
    state.windows_per_second = static_cast<double>(windows_) / spent;
    state.seconds_left = spent / made * left;
    progress_.show(state, now);
  }

  Trainer& trainer_;
  RunState& state_;
  const ModelFolderContents& contents_;
  RunLog* log_;  // none where another process writes
  Progress& progress_;
  const RunOptions& options_;
  const uint64_t begin_steps_;
  const double begin_seconds_;
  const double begin_time_ = seconds_now();
  double snapshot_time_ = begin_time_;
  RunLog::Span span_;
  double span_begin_ = begin_seconds_;
  uint64_t span_steps_ = 0;
  uint64_t windows_ = 0;
  std::exception_ptr failure_;
};

}  // namespace

RunEnd run_training(Trainer& trainer, RunState& state, const ModelFolderContents& contents,
                    RunLog* log, Progress& progress, const RunOptions& options) {
  try {
    return Run(trainer, state, contents, log, progress, options).go();
  } catch (const Error& error) {
    progress.clear();
    if (trainer.place().rank != 0) {
      throw;
    }
    throw telling_of_snapshot(error, options.snapshot);
  }
}

}  // namespace bertrand
