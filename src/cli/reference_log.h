#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace bertrand::cli {

/// What the reference tells of a run, in its form: in a file one line "DLLL {json}" each, and on
/// standard output the same as "DLL <time> - <step> <name> : <value> ...". Source: NVIDIA's
/// dllogger, JSONStreamBackend and StdOutBackend.
class ReferenceLog {
 public:
  using Json = nlohmann::ordered_json;

  /// Begins the file anew, with the folders it lies in, or is told to `append` to it. Steps are
  /// left out of standard output where `print_steps` is false. Throws Error (io).
  ReferenceLog(std::filesystem::path path, bool append, bool print_steps);
  ~ReferenceLog();
  ReferenceLog(const ReferenceLog&) = delete;
  ReferenceLog& operator=(const ReferenceLog&) = delete;

  /// Something about the run, under the step "PARAMETER".
  void parameter(const std::string& name, Json value);

  /// Of an optimizer step; both count from where the reference's do: epochs from 0, steps from 1.
  void step(uint64_t epoch, uint64_t step, const Json& data);

  /// The figures of the whole run, under the step [].
  void result(const Json& data);

  /// From now on work is at stake: a line that cannot be written is said once, and ends nothing
  /// before finish(), which throws its Error.
  void begin_work() { working_ = true; }
  void finish();

 private:
  void attempt(const std::function<void()>& write);
  void log(const Json& step, const Json& data, const std::string& step_text, bool print);

  std::filesystem::path path_;
  bool print_steps_;
  std::chrono::system_clock::time_point begun_ = std::chrono::system_clock::now();
  std::FILE* file_ = nullptr;
  bool working_ = false;
  std::optional<Error> failure_;  ///< the first one while working
};

}  // namespace bertrand::cli
