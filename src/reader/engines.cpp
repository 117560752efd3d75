#include "reader/engines.h"

#include <array>
#include <cstdlib>

#include "base/error.h"
#include "engine/cpu/cpu_engine.h"
#include "engine/torch_engine.h"
#include "engine/torch_group.h"

namespace bertrand {
namespace {

const char* library_of(const EngineChoice& choice) {
  return choice.library.empty() ? nullptr : choice.library.c_str();
}

/// By a flag or a variable.
bool names_library(const EngineChoice& choice) {
  const char* set = std::getenv("BERTRAND_TORCH_LIBRARY");
  return !choice.library.empty() || (set != nullptr && *set != '\0');
}

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

unsigned count_devices(const EngineChoice& choice) {
  const std::string type = choice.device.substr(0, choice.device.find(':'));
  uint32_t count = 0;
  const auto plugin = TorchPlugin::open(choice.plugin);
  plugin->check(plugin->table().count_devices(type.c_str(), library_of(choice), &count, nullptr));
  return count;
}

EngineChoice choice_of_process(const EngineChoice& choice, const LaunchEnvironment& launch,
                               const DeviceCounter& count) {
  EngineChoice mine = choice;
  if (launch.place.count > 1) {
    mine.device = device_of_process(choice.device, launch.local.rank);
    if (mine.device != choice.device && launch.local.rank > 0 && count(choice) == 1) {
      mine.device = device_of_process(choice.device, 0);
    }
  }
  return mine;
}

void check_device(const EngineChoice& choice) {
  if (choice.device == "cpu") {
    return;
  }
  if (count_devices(choice) == 0) {
    throw Error(ErrorCode::usage,
                "--device " + choice.device +
                    ": this machine shows no such device; look at its driver, or give --device "
                    "cpu.");
  }
  // Asked what it can do, the plug-in looks for the very device.
  uint32_t found = 0;
  int32_t has_bf16 = 0;
  const auto plugin = TorchPlugin::open(choice.plugin);
  plugin->check(
      plugin->table().count_devices(choice.device.c_str(), library_of(choice), &found, &has_bf16));
}

void check_device_of_process(const EngineChoice& choice, const LaunchEnvironment& launch,
                             const DeviceCounter& count) {
  const EngineChoice mine = choice_of_process(choice, launch, count);
  if (mine.device == choice.device) {
    return;  // the CPU, or a number of the user's own
  }
  const unsigned cards = count(choice);
  // Where it sees but one that is its own; where there is none check_device() says what to do.
  if (cards <= 1 || launch.local.rank < cards) {
    return;
  }
  const std::string number = std::to_string(cards);
  const std::string processes = launch.local.count > launch.local.rank
                                    ? std::to_string(launch.local.count) + " processes"
                                    : std::to_string(launch.local.rank + 1) + " processes or more";
  throw Error(ErrorCode::usage, processes + " of this machine have " + number +
                                    " cards (--device " + choice.device +
                                    "). Start as many as there are cards: launch --nproc " +
                                    number + ", BERTRAND_CARDS=" + number + " for the scripts.");
}

std::string card_name(const EngineChoice& choice) {
  if (choice.device == "cpu") {
    return {};
  }
  constexpr size_t kLongest = 200;
  std::array<char, kLongest> name{};
  const auto plugin = TorchPlugin::open(choice.plugin);
  plugin->check(plugin->table().name_card(choice.device.c_str(), library_of(choice), name.data(),
                                          name.size()));
  return name.data();
}

std::unique_ptr<ProcessGroup> make_process_group(const EngineChoice& choice,
                                                 const LaunchEnvironment& launch) {
  TorchGroupOptions options;
  options.device = choice_of_process(choice, launch).device;
  options.backend = options.device == "cpu"              ? "gloo"
                    : options.device.starts_with("cuda") ? "nccl"
                                                         : "cncl";
  options.library = choice.library;
  options.place = launch.place;
  options.address = launch.master_address;
  options.port = launch.master_port;
  options.own_address = launch.own_address;
  // torchrun may keep the store itself, for its own use, too, and over restarts of the processes.
  const bool of_launcher = is_store_of_launcher();
  options.serves_store = launch.place.rank == 0 && !of_launcher;
  if (of_launcher) {
    const char* restarts = std::getenv("TORCHELASTIC_RESTART_COUNT");
    options.prefix = std::string("bertrand/") + (restarts != nullptr ? restarts : "0");
  }
  return make_torch_group(TorchPlugin::open(choice.plugin), options);
}

CardsFound find_cards(const EngineChoice& choice) {
  const auto plugin = TorchPlugin::open(choice.plugin);
  CardsFound found;
  for (const std::string kind : {"cuda", "mlu"}) {
    uint32_t count = 0;
    const int32_t status =
        plugin->table().count_devices(kind.c_str(), library_of(choice), &count, nullptr);
    if (status == bertrand_torch_ok && count > 0) {
      return {kind, ""};
    }
    // Wrong usage, where nothing was named, means that what this kind needs is not here.
    const bool is_absent =
        status == bertrand_torch_usage && (kind != "mlu" || !names_library(choice));
    if (status != bertrand_torch_ok && !is_absent) {
      found.obstacle = plugin->table().last_error();
    }
  }
  return found;
}

std::string joiner_text(const EngineChoice& choice) {
  return "LibTorch " + TorchPlugin::open(choice.plugin)->torch_version();
}

std::string engine_text(const EngineChoice& choice) {
  return choice.is_torch() ? joiner_text(choice) : "native";
}

}  // namespace bertrand
