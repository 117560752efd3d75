#include "reader/engines.h"

#include "engine/cpu/cpu_engine.h"
#include "engine/torch_engine.h"

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

std::string engine_text(const EngineChoice& choice) {
  return choice.is_torch() ? "LibTorch " + TorchPlugin::open(choice.plugin)->torch_version()
                           : "native";
}

}  // namespace bertrand
