#include "training.h"

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <unistd.h>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "base/thread_pool.h"
#include "common.h"
#include "distributed/launch_environment.h"
#include "engine/cpu/products.h"
#include "progress.h"
#include "reader/engines.h"
#include "signal_catcher.h"

namespace bertrand::cli {
namespace {

/// The error of one of several processes says whose it is.
[[noreturn]] void throw_with_rank(const Error& error, unsigned rank) {
  const std::string what = error.what();
  if (rank == 0 || what.empty()) throw error;
  throw Error(error.code(), fmt::format("Rank {}: {}", rank, what));
}

/// Of several processes each on its own device, joined through the plug-in.
void choose_engine(FineTuneOptions& options, const EngineChoice& choice) {
  options.engine = engine_text(choice);
  options.device = choice.device;
  options.dropout_key = choice.example_masks() ? "example" : "device";
  options.make_engine = [choice](const BertConfig& config, Precision precision, unsigned threads) {
    return make_engine(config, choice, precision, threads);
  };
  options.choose_precision = [choice](const BertConfig& config, unsigned threads) {
    return fastest_engine_precision(config, choice, threads, Purpose::training);
  };
  options.make_group = [choice](const LaunchEnvironment& launch) {
    return make_process_group(choice, launch);
  };
}

}  // namespace

void join_launch(FineTuneOptions& options, unsigned threads) {
  options.launch = launch_environment();
  if (options.launch.place.rank != 0) {
    spdlog::set_level(spdlog::level::err);
  }
  options.threads = threads != 0 ? chosen_threads(threads)
                                 : share_of_threads(options.launch, usable_threads(0), is_bound());
}

RunEnd run_fine_tune(FineTuneOptions& options, const EngineChoice& engine, bool show_progress) {
  check_engine_choice(engine);
  choose_engine(options, choice_of_process(engine, options.launch));
  options.program_version = BERTRAND_VERSION;
  options.library_versions = cpu::library_versions();
  const bool shown = show_progress && spdlog::should_log(spdlog::level::info);
  options.progress = shown ? stderr : nullptr;
  options.terminal = ::isatty(STDERR_FILENO) != 0;
  options.evaluation_progress = [bar = std::make_shared<std::optional<CountProgress>>()](
                                    size_t done, size_t all) {
    if (done == all) return bar->reset();
    if (!*bar) bar->emplace("windows");
    (*bar)->show(done, all);
  };
  options.run.signal = &SignalCatcher::caught;
  RunEnd end = RunEnd::finished;
  {
    const SignalCatcher catcher(/*launched=*/options.launch.launcher != Launcher::none);
    try {
      end = fine_tune(options);
    } catch (const Error& error) {
      throw_with_rank(error, options.launch.place.rank);
    }
  }
  if (end == RunEnd::stopped && SignalCatcher::caught() != 0) {
    std::exit(128 + SignalCatcher::caught());
  }
  return end;
}

}  // namespace bertrand::cli
