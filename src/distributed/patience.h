#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>

#include "distributed/meeting.h"

namespace bertrand {

/// How long others are waited for, and when that is told.
class Patience {
 public:
  explicit Patience(const MeetingOptions& options)
      : options_(options), next_tell_(options.tell_after_seconds) {}

  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }
  double left() const { return std::max(0.0, options_.timeout_seconds - seconds()); }

  /// For poll: until something is to be told or it is over.
  int milliseconds() const {
    const double next = options_.tell ? std::min(left(), next_tell_ - seconds()) : left();
    return static_cast<int>(std::clamp(std::ceil(next * 1e3), 1.0, 1e6));
  }

  template <typename Sentence>
  void tell_when_due(const Sentence& sentence) {
    constexpr double kAgain = 60;
    if (options_.tell && seconds() >= next_tell_) {
      next_tell_ += kAgain;
      options_.tell(sentence());
    }
  }

 private:
  const MeetingOptions& options_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  double next_tell_;
};

}  // namespace bertrand
