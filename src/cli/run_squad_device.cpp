#include "run_squad_device.h"

#include <string>
#include <string_view>

#include <spdlog/spdlog.h>

#include "base/error.h"
#include "engine/torch_plugin.h"
#include "reader/engines.h"
#include "training.h"

namespace bertrand::cli {
namespace {

/// Where nothing is said: cards, as the reference does it, where there are any.
std::string found_device(const EngineChoice& engine) {
  if (engine.engine == "native") return "cpu";
  std::string why = "The plug-in finds no cards here.";
  std::string obstacle;
  try {
    const CardsFound found = find_cards(engine);
    if (!found.kind.empty()) {
      spdlog::info("Computed on {}; --device cpu chooses the CPU.", found.kind);
      return found.kind;
    }
    obstacle = found.obstacle;
    if (!obstacle.empty() && !engine.library.empty()) throw Error(ErrorCode::usage, obstacle);
  } catch (const Error& error) {
    if (engine.is_torch() || !engine.plugin.empty() || !engine.library.empty()) throw;
    (TorchPlugin::is_expected() ? obstacle : why) = error.what();
  }
  if (!obstacle.empty()) {
    spdlog::warn("Computed on the CPU; cards could not be looked for. {}", obstacle);
    return "cpu";
  }
  spdlog::info("Computed on the CPU; --device gpu or mlu chooses cards. {}", why);
  return "cpu";
}

/// "cuda:1" of "gpu:1".
std::string device_text(const RunSquadFlags& flags) {
  constexpr std::string_view kGpu = "gpu";
  const bool is_gpu = flags.device.starts_with(kGpu) || flags.device.starts_with("cuda");
  if (flags.no_cuda && (is_gpu || flags.device.empty())) {
    spdlog::info("--no_cuda: computed on the CPU.");
    return "cpu";
  }
  if (flags.no_cuda && flags.device != "cpu") {
    spdlog::info("--no_cuda changes nothing: --device {} is no GPU.", flags.device);
  }
  if (flags.device.empty()) return found_device(flags.engine);
  if (flags.device.starts_with(kGpu)) return "cuda" + flags.device.substr(kGpu.size());
  return flags.device;
}

}  // namespace

void choose_device(RunSquadFlags& flags, FineTuneOptions& options) {
  join_launch(options, flags.threads, /*meet=*/flags.do_train);
  flags.engine.device = device_text(flags);
  check_engine_choice(flags.engine);
  if (options.launch.place.count == 1 && (flags.local_rank > 0 || flags.hvd > 1)) {
    throw Error(ErrorCode::usage,
                "--local_rank, --hvd: this is one process only, as the environment says; begin "
                "several by bertrand launch --nproc N -- run_squad ...");
  }
}

void choose_precision(const CLI::App& command, RunSquadFlags& flags) {
  const bool cnmix = flags.cnmix && flags.opt_level != "O0";
  const bool mixed = flags.fp16 || flags.amp || flags.pyamp || cnmix;
  if (!mixed || command.count("--precision") != 0) return;
  if (flags.engine.device != "cpu") {
    flags.precision = Precision::fp16;
    return;
  }
  spdlog::info(
      "Mixed precision is for cards: the CPU computes in fp32; --precision bf16 where it has such "
      "products.");
}

}  // namespace bertrand::cli
