#include "training.h"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "base/thread_pool.h"
#include "common.h"
#include "distributed/launch_environment.h"
#include "distributed/meeting.h"
#include "distributed/watch.h"
#include "engine/cpu/products.h"
#include "progress.h"
#include "reader/engines.h"
#include "signal_catcher.h"
#include "train/agreement.h"

namespace bertrand::cli {
namespace {

/// The error of one of several processes says whose it is.
[[noreturn]] void throw_with_rank(const Error& error, unsigned rank) {
  const std::string what = error.what();
  if (rank == 0 || what.empty() || what.starts_with("Rank ")) throw error;
  throw Error(error.code(), fmt::format("Rank {}: {}", rank, what));
}

/// gloo goes by the network the processes met in, and there it must be reached.
void check_network(const Meeting& meeting) {
  const char* chosen = std::getenv("GLOO_SOCKET_IFNAME");
  if (!meeting.own_address().starts_with("127.") || (chosen != nullptr && *chosen != '\0')) return;
  throw Error(ErrorCode::usage,
              fmt::format("{} machines were met at {}, which is this machine alone: give an "
                          "address in MASTER_ADDR (--master-addr) by which all of them reach rank "
                          "0, or name the network's interface in GLOO_SOCKET_IFNAME.",
                          meeting.machines(), meeting.own_address()));
}

/// From the thread that missed them: the others of this process may wait for ever.
[[noreturn]] void end_as_others_did(const std::string& sentence) {
  const std::string line =
      fmt::format("{}bertrand: {}\n", ::isatty(STDERR_FILENO) != 0 ? "\n" : "", sentence);
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
  ::_exit(kElsewhereExitCode);
}

unsigned shared_threads(const LaunchEnvironment& launch) {
  return share_of_threads(launch, usable_threads(0), is_bound());
}

/// Where torchrun serves a store on the port itself, the processes meet there, later.
void meet_others(FineTuneOptions& options, bool threads_given) {
  LaunchEnvironment& launch = options.launch;
  if (launch.place.count == 1 || is_store_of_launcher()) return;
  MeetingOptions where;
  where.place = launch.place;
  where.address = launch.master_address;
  where.port = launch.master_port;
  where.timeout_seconds = launch.join_timeout;
  where.tell = [](const std::string& sentence) {
    std::fprintf(stderr, "bertrand: %s\n", sentence.c_str());
  };
  const auto meeting = std::make_shared<Meeting>(where);
  together(meeting.get(), [&] { check_network(*meeting); });
  launch.own_address = meeting->own_address();
  options.machine = meeting->machine();
  if (launch.local.count == 0) {
    launch.local.count = meeting->local_count();
    if (!threads_given) options.threads = shared_threads(launch);
  }
  options.meeting = meeting;
}

/// Of several processes each on its own device, joined through the plug-in.
void choose_engine(FineTuneOptions& options, const EngineChoice& choice) {
  check_device(choice);
  if (options.launch.place.count > 1) options.joined_by = joiner_text(choice);
  options.engine = engine_text(choice);
  options.dropout_key = choice.example_masks() ? "example" : "device";
  options.device = choice.device;
  if (options.launch.place.count > 1) options.card = card_name(choice);
  options.make_engine = [choice](const BertConfig& config, Precision precision, unsigned threads) {
    return make_engine(config, choice, precision, threads);
  };
  options.choose_precision = [choice](const BertConfig& config, unsigned threads) {
    return fastest_engine_precision(config, choice, threads, Purpose::training);
  };
}

}  // namespace

void join_launch(FineTuneOptions& options, unsigned threads, bool meet) {
  options.launch = launch_environment();
  if (options.launch.place.rank != 0) {
    spdlog::set_level(spdlog::level::err);
  }
  options.threads = threads != 0 ? chosen_threads(threads) : shared_threads(options.launch);
  if (meet) meet_others(options, /*threads_given=*/threads != 0);
}

RunEnd run_fine_tune(FineTuneOptions& options, const EngineChoice& engine, bool show_progress) {
  try {
    together(options.meeting.get(), [&] {
      check_engine_choice(engine);
      check_device_of_process(engine, options.launch);
      choose_engine(options, choice_of_process(engine, options.launch));
    });
  } catch (const Error& error) {
    throw_with_rank(error, options.launch.place.rank);
  }
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
  std::optional<Watch> watch;
  // While the processes wait to be joined a signal ends them; afterwards it stops the run.
  std::optional<SignalCatcher> catcher;
  const auto catch_signals = [&] {
    catcher.emplace(/*launched=*/options.launch.launcher != Launcher::none);
  };
  options.make_group = [&](const LaunchEnvironment& launch) {
    if (const auto meeting =
            std::dynamic_pointer_cast<Meeting>(std::exchange(options.meeting, {}))) {
      watch.emplace(*meeting, WatchOptions{end_as_others_did, launch.gone_timeout});
    }
    auto group = make_process_group(engine, launch);
    catch_signals();
    return group;
  };
  options.leave = [&] {
    if (watch) watch->farewell();
  };
  RunEnd end = RunEnd::finished;
  try {
    if (options.launch.place.count == 1) catch_signals();
    end = fine_tune(options);
  } catch (const Error& error) {
    throw_with_rank(error, options.launch.place.rank);
  }
  watch.reset();
  catcher.reset();
  if (end == RunEnd::stopped && SignalCatcher::caught() != 0) {
    std::exit(128 + SignalCatcher::caught());
  }
  return end;
}

}  // namespace bertrand::cli
