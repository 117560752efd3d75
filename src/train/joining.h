#pragma once

#include <memory>

#include "train/agreement.h"
#include "train/fine_tune.h"
#include "train/snapshot.h"

namespace bertrand {

/// The group of the processes of a run; nullptr where this one is alone. Before it is made those
/// who have met compare what computes: other libraries may not even understand each other, and none
/// joins two processes on one card. Throws Error (usage) where they differ, two have one card or
/// nothing joins them, and what FineTuneOptions::make_group throws.
std::unique_ptr<ProcessGroup> joined(const FineTuneOptions& options);

/// What decides, beside the windows' order, that the processes make the same steps. What a user
/// chose comes before the fingerprints that follow from it.
Facts facts_of(const FineTuneOptions& options, const RunState& state);

}  // namespace bertrand
