#pragma once

#include "engine/engine_choice.h"
#include "train/fine_tune.h"

namespace bertrand::cli {

/// Which of how many processes this is, and its threads: `threads` where that is not 0, else its
/// share. Rank 0 speaks for all; the others tell errors only. Where they are to `meet`, for a run
/// of all of them, it returns when all are there.
void join_launch(FineTuneOptions& options, unsigned threads, bool meet);

/// fine_tune() with what every command that trains needs besides what its user asks for: versions,
/// the engine chosen, the process group, progress on standard error unless --quiet or
/// `show_progress` is false, and signals. SIGINT, SIGTERM and SIGHUP stop the run with a snapshot
/// and then end the program with 128 + n. `options` have been through join_launch; an Error says
/// whose it is.
RunEnd run_fine_tune(FineTuneOptions& options, const EngineChoice& engine,
                     bool show_progress = true);

}  // namespace bertrand::cli
