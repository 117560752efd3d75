#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "distributed/process_group.h"

namespace bertrand {

// What the processes of a run do so that all of them go on, or none. `group` may be nullptr: one
// process agrees with itself.

/// Runs `part`, which must not use the group, and waits for the others to have done so. Where it
/// throws in some process, all of them throw: rank 0 an Error that says what and where, the others
/// one with no text, since rank 0 says it. The code is that of what was thrown in the first process
/// that failed, and in all others elsewhere.
void together(ProcessGroup* group, const std::function<void()>& part);

/// What must be the same in every process: name and value, the same names everywhere.
using Facts = std::vector<std::pair<std::string, std::string>>;

/// Throws Error, as together() does (usage), naming the first fact whose value at some rank is not
/// that of rank 0.
void check_alike(ProcessGroup* group, const Facts& facts);

/// The text of process `root`, in every process.
void broadcast_text(ProcessGroup& group, std::string& text, unsigned root);

}  // namespace bertrand
