#pragma once

#include <string>

namespace bertrand {

/// What a run ran on, to be saved beside its result.
struct Machine {
  std::string processor;  ///< as /proc/cpuinfo calls it
  unsigned cpus = 0;      ///< that this process may use
  double memory_gib = 0;
  std::string system;    ///< "Linux 6.1.0 x86_64"
  std::string compiler;  ///< that built the program
};

Machine this_machine();

/// Now, "2024-05-06T07:08:09Z".
std::string utc_time();

}  // namespace bertrand
