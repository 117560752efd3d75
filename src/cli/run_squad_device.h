#pragma once

#include <CLI/CLI.hpp>

#include "run_squad_flags.h"
#include "train/fine_tune.h"

namespace bertrand::cli {

/// The one place where run_squad's device, engine and process group are chosen. Without --device
/// cards that the plug-in finds are taken, and a line says what was chosen. Throws Error (usage)
/// also where several processes were begun and do not know of each other.
void choose_device(RunSquadFlags& flags, FineTuneOptions& options);

/// Mixed precision is fp16 on cards, as the reference has it, unless --precision says another.
/// Comes after choose_device().
void choose_precision(const CLI::App& command, RunSquadFlags& flags);

}  // namespace bertrand::cli
