#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>

#include "train/trainer.h"

namespace bertrand {

/// events.jsonl: one JSON object a line, with "event" and "step", readable while the run goes on.
class RunLog {
 public:
  /// Goes on with the file: keeps its lines up to `steps` steps and drops what a run that was
  /// killed did after its last snapshot. With 0 the file begins anew. Throws Error (io).
  RunLog(std::filesystem::path path, uint64_t steps);
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  /// "step": a span of steps ending with `last`; `loss` is their mean, `windows` and `tokens`
  /// their sums in `seconds`; `elapsed` is the seconds of the whole run.
  struct Span {
    TrainStep last;
    uint64_t epoch = 0;
    double loss = 0;
    double seconds = 0;
    uint64_t windows = 0;
    uint64_t tokens = 0;
    double elapsed = 0;
  };
  void steps(const Span& span);

  /// "begin", "resume", "skipped", "snapshot", "stop", "finish".
  void event(const char* name, uint64_t step, double elapsed);

 private:
  void line(const std::string& text);

  std::filesystem::path path_;
  std::FILE* file_ = nullptr;
};

}  // namespace bertrand
