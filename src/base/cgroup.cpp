#include "base/cgroup.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>

namespace bertrand {
namespace {

namespace fs = std::filesystem;

/// Times are in microseconds; no quota is "max" in version 2 and -1 in version 1.
unsigned cpus_of(double quota, double period) {
  if (quota <= 0 || period <= 0) {
    return 0;
  }
  return static_cast<unsigned>(std::max(1.0, std::ceil(quota / period)));
}

unsigned cpus_of_group(const fs::path& group) {
  double quota = 0;
  double period = 0;
  if (std::ifstream(group / "cpu.max") >> quota >> period) {
    return cpus_of(quota, period);
  }
  if (std::ifstream(group / "cpu.cfs_quota_us") >> quota &&
      std::ifstream(group / "cpu.cfs_period_us") >> period) {
    return cpus_of(quota, period);
  }
  return 0;
}

bool has_cpu(const std::string& controllers) {
  return ("," + controllers + ",").find(",cpu,") != std::string::npos;
}

}  // namespace

unsigned cgroup_cpus(const fs::path& list, const fs::path& root) {
  unsigned tightest = 0;
  std::ifstream groups(list);
  for (std::string line; std::getline(groups, line);) {
    // hierarchy:controllers:/group
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (second == std::string::npos || second + 1 >= line.size()) {
      continue;
    }
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!controllers.empty() && !has_cpu(controllers)) {
      continue;
    }
    // A container may see its group's name as the host does, but only its own part of the tree:
    // then the top has the limit.
    for (fs::path group = line.substr(second + 2);; group = group.parent_path()) {
      const unsigned cpus = cpus_of_group(root / controllers / group);
      if (cpus != 0 && (tightest == 0 || cpus < tightest)) {
        tightest = cpus;
      }
      if (group.empty()) {
        break;
      }
    }
  }
  return tightest;
}

}  // namespace bertrand
