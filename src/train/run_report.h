#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "squad/metrics.h"
#include "train/machine.h"
#include "train/snapshot.h"

namespace bertrand {

/// run.json: what was done, where, how long it took and what came of it.
struct RunReport {
  std::string program_version;
  std::map<std::string, std::string> library_versions;  ///< by name
  std::string engine;                                   ///< "native", "LibTorch 2.15.0"
  std::string device;                                   ///< "cpu", "cuda:1"
  Machine machine;
  std::string model;  ///< paths as the user gave them
  std::string train;
  std::string dev;
  std::string begun;  ///< this part of the run; utc_time()
  std::string ended;  ///< empty while it goes on
  bool finished = false;
  size_t examples = 0;
  size_t windows = 0;
  size_t skipped = 0;         ///< questions whose answer is not in their context
  size_t empty_contexts = 0;  ///< questions about an empty context: no window
  uint64_t steps_planned = 0;
  std::optional<Metrics> metrics;  ///< on dev
  double evaluation_seconds = 0;
};

/// One JSON object; steps, seconds, threads and loss are those of `state`.
std::string run_report_to_json(const RunReport& report, const RunState& state);

}  // namespace bertrand
