#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace bertrand::cli {

/// Tells on standard error how far a count has come: on a terminal a line drawn again in place, a
/// few times a second; elsewhere a line every 30 seconds; with --quiet nothing.
class CountProgress {
 public:
  /// `what` is counted: "windows".
  explicit CountProgress(std::string what);
  ~CountProgress();
  CountProgress(const CountProgress&) = delete;
  CountProgress& operator=(const CountProgress&) = delete;

  void show(size_t done, size_t all);

  /// Takes the line away, so that something else can be printed.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;

  std::string what_;
  bool wanted_;
  bool terminal_;
  bool drawn_ = false;
  Clock::time_point begun_ = Clock::now();
  Clock::time_point shown_ = begun_;
};

/// "4,096 of 10,833 windows, 212 a second, 0:32 left".
std::string count_text(const std::string& what, size_t done, size_t all, double seconds);

}  // namespace bertrand::cli
