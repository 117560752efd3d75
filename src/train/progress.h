#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>

namespace bertrand {

/// Where a run stands, for the eye.
struct ProgressState {
  uint64_t done = 0;
  uint64_t all = 0;
  double loss = 0;  ///< mean of the last steps
  double learning_rate = 0;
  double windows_per_second = 0;
  double seconds_left = 0;
};

/// "1:02:03", "2:03".
std::string time_text(double seconds);

/// Takes away what stands in a terminal's line.
constexpr const char* kClearLine = "\r\033[K";

/// How many columns a terminal has; 80 where it does not tell.
size_t terminal_columns(std::FILE* terminal);

/// The first of `texts`, which get shorter, that has at most `columns` characters; else none.
std::string longest_that_fits(std::span<const std::string> texts, size_t columns);

/// A bar that fills `columns` columns of a terminal, without a line's end; where they are few, less
/// is said, and there is no bar.
std::string progress_bar(const ProgressState& state, size_t columns);

/// The same for a log: one sentence.
std::string progress_line(const ProgressState& state);

/// On a terminal a bar that is drawn again in place, a few times a second; elsewhere a line every
/// 30 seconds. With no file, nothing.
class Progress {
 public:
  Progress(std::FILE* out, bool terminal) : out_(out), terminal_(terminal) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `now` in seconds of any steady clock.
  void show(const ProgressState& state, double now);

  /// Takes the bar away, so that a message can be printed.
  void clear();

 private:
  std::FILE* out_;
  bool terminal_;
  bool drawn_ = false;
  bool first_ = true;
  double shown_at_ = 0;
};

}  // namespace bertrand
