#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "distributed/launch_environment.h"
#include "distributed/process_group.h"
#include "engine/engine.h"
#include "engine/engine_choice.h"
#include "engine/fastest_precision.h"

namespace bertrand {

/// The engine chosen, without weights. Throws Error: what check_engine_choice() and the engine's
/// maker throw.
std::unique_ptr<Engine> make_engine(const BertConfig& config, const EngineChoice& choice,
                                    Precision precision, unsigned threads);

/// What Precision::automatic stands for there.
PrecisionChoice fastest_engine_precision(const BertConfig& config, const EngineChoice& choice,
                                         unsigned threads, Purpose purpose);

/// How many devices of the choice's kind this process sees.
using DeviceCounter = std::function<unsigned(const EngineChoice& choice)>;

/// Through the plug-in; throws Error as TorchPlugin::open() does, and usage where the plug-in has
/// nothing for such devices.
unsigned count_devices(const EngineChoice& choice);

/// The choice of one of several processes: where the device has no number, each process of a
/// machine takes its own, by its number on that machine. Where but one is to be seen (Slurm may
/// show each process its own alone) it takes that.
EngineChoice choice_of_process(const EngineChoice& choice, const LaunchEnvironment& launch,
                               const DeviceCounter& count = count_devices);

/// Throws Error (usage) where this process does not see the device chosen.
void check_device(const EngineChoice& choice);

/// Throws Error (usage), with how many to start, where choice_of_process() gives this process a
/// device that the machine does not have: the processes are more than the cards.
void check_device_of_process(const EngineChoice& choice, const LaunchEnvironment& launch,
                             const DeviceCounter& count = count_devices);

/// What no other card of the machine has; empty for the CPU, and where that is not known. Throws
/// Error as check_device() does.
std::string card_name(const EngineChoice& choice);

/// Joins the processes of a run, through the plug-in, whatever engine computes: by gloo on the CPU,
/// on devices by nccl or cncl. Throws Error: what TorchPlugin::open() and make_torch_group() throw.
std::unique_ptr<ProcessGroup> make_process_group(const EngineChoice& choice,
                                                 const LaunchEnvironment& launch);

/// What the plug-in finds on this machine.
struct CardsFound {
  std::string kind;      ///< "cuda", else "mlu"; empty: none
  std::string obstacle;  ///< why it could not look for some, with what to do; empty: it could
};

/// What a kind of card needs and is not installed is no obstacle; what is there and does not work
/// is, and so is what was named and is not there. Throws Error: what TorchPlugin::open() throws.
CardsFound find_cards(const EngineChoice& choice);

/// What make_process_group() joins by: "LibTorch 2.15.0". Throws Error as TorchPlugin::open() does.
std::string joiner_text(const EngineChoice& choice);

/// "native", or "LibTorch 2.15.0", for reports.
std::string engine_text(const EngineChoice& choice);

}  // namespace bertrand
