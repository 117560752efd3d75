#pragma once

#include <cstdint>
#include <vector>

#include <hwy/targets.h>

namespace bertrand::test {

/// Those this machine has and the program was compiled for.
inline std::vector<int64_t> instruction_sets() {
  std::vector<int64_t> sets;
  for (int64_t left = hwy::SupportedTargets() & HWY_TARGETS; left != 0; left &= left - 1) {
    sets.push_back(left & -left);
  }
  return sets;
}

}  // namespace bertrand::test
