#include "reader/engines.h"

#include <cstdlib>

#include "engine/cpu/cpu_engine.h"
#include "engine/torch_engine.h"
#include "engine/torch_group.h"

namespace bertrand {
namespace {

TorchOptions torch_options(const EngineChoice& choice, Precision precision, unsigned threads) {
  TorchOptions options;
  options.device = choice.device;
  options.library = choice.library;
  options.precision = precision;
  options.example_masks = choice.example_masks();
  options.threads = threads;
  return options;
}

}  // namespace

std::unique_ptr<Engine> make_engine(const BertConfig& config, const EngineChoice& choice,
                                    Precision precision, unsigned threads) {
  check_engine_choice(choice);
  if (choice.is_torch()) {
    return make_torch_engine(TorchPlugin::open(choice.plugin), config,
                             torch_options(choice, precision, threads));
  }
  return make_cpu_engine(config, {threads, precision});
}

PrecisionChoice fastest_engine_precision(const BertConfig& config, const EngineChoice& choice,
                                         unsigned threads, Purpose purpose) {
  check_engine_choice(choice);
  if (choice.is_torch()) {
    return fastest_torch_precision(TorchPlugin::open(choice.plugin), config,
                                   torch_options(choice, Precision::fp32, threads), purpose);
  }
  return fastest_cpu_precision(config, threads, purpose);
}

EngineChoice choice_of_process(const EngineChoice& choice, const LaunchEnvironment& launch) {
  EngineChoice mine = choice;
  if (launch.place.count > 1) {
    const ProcessPlace& local = launch.local.count > 0 ? launch.local : launch.place;
    mine.device = device_of_process(choice.device, local.rank);
  }
  return mine;
}

std::unique_ptr<ProcessGroup> make_process_group(const EngineChoice& choice,
                                                 const LaunchEnvironment& launch) {
  const auto is = [](const char* name, const std::string& value) {
    const char* set = std::getenv(name);
    return set != nullptr && set == value;
  };
  TorchGroupOptions options;
  options.device = choice_of_process(choice, launch).device;
  options.backend = options.device == "cpu"              ? "gloo"
                    : options.device.starts_with("cuda") ? "nccl"
                                                         : "cncl";
  options.library = choice.library;
  options.place = launch.place;
  options.address = launch.master_address;
  options.port = launch.master_port;
  // torchrun may keep the store itself, for its own use, too, and over restarts of the processes.
  const bool of_launcher = is("TORCHELASTIC_USE_AGENT_STORE", "True");
  options.serves_store = launch.place.rank == 0 && !of_launcher;
  if (of_launcher) {
    const char* restarts = std::getenv("TORCHELASTIC_RESTART_COUNT");
    options.prefix = std::string("bertrand/") + (restarts != nullptr ? restarts : "0");
  }
  return make_torch_group(TorchPlugin::open(choice.plugin), options);
}

std::string kind_of_cards(const EngineChoice& choice) {
  const auto plugin = TorchPlugin::open(choice.plugin);
  const char* library = choice.library.empty() ? nullptr : choice.library.c_str();
  for (const char* kind : {"cuda", "mlu"}) {
    // A failure means that what this kind needs is not here.
    uint32_t count = 0;
    if (plugin->table().count_devices(kind, library, &count, nullptr) == bertrand_torch_ok &&
        count > 0) {
      return kind;
    }
  }
  return {};
}

std::string engine_text(const EngineChoice& choice) {
  return choice.is_torch() ? "LibTorch " + TorchPlugin::open(choice.plugin)->torch_version()
                           : "native";
}

}  // namespace bertrand
