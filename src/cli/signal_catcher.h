#pragma once

#include <array>
#include <csignal>

namespace bertrand::cli {

/// Notes SIGINT, SIGTERM and SIGHUP while it lives; the same a second time ends the program at
/// once. One that is ignored already stays so (nohup, a job in the background). Whoever reads the
/// progress may go away: the run does not end with SIGPIPE. There is one at a time.
class SignalCatcher {
 public:
  /// `launched`: a launcher started this process. A system that ends a whole job tells both of
  /// them, and the launcher passes it on: what comes within a second is no second wish.
  explicit SignalCatcher(bool launched);
  ~SignalCatcher();
  SignalCatcher(const SignalCatcher&) = delete;
  SignalCatcher& operator=(const SignalCatcher&) = delete;

  /// The number of the last signal noted; 0: none.
  static int caught();

 private:
  static constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};

  std::array<struct sigaction, kSignals.size()> before_{};
};

}  // namespace bertrand::cli
