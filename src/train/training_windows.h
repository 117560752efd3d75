#pragma once

#include <cstdint>
#include <vector>

#include "squad/windows.h"

namespace bertrand {

/// All windows of a set, to be indexed; valid while the set lives. With `most` above 0 and below
/// their number, that many, evenly spread.
std::vector<Window> training_windows(const WindowSet& set, uint64_t most);

}  // namespace bertrand
