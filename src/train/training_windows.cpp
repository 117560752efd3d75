#include "train/training_windows.h"

#include <algorithm>

namespace bertrand {

std::vector<Window> training_windows(const WindowSet& set, uint64_t most) {
  const uint64_t all = set.size();
  const uint64_t taken = most == 0 ? all : std::min(most, all);
  std::vector<Window> windows;
  windows.reserve(taken);
  for (uint64_t i = 0; i < taken; ++i) {
    windows.push_back(set[i * all / taken]);
  }
  return windows;
}

}  // namespace bertrand
