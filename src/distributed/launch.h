#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bertrand {

/// What to start on this machine, and as which part of a run.
struct LaunchOptions {
  std::string program;                 ///< found by PATH unless it has a slash
  std::vector<std::string> arguments;  ///< its name first
  unsigned processes = 1;              ///< on this machine, and on each of the others
  unsigned machines = 1;               ///< of the run
  unsigned machine = 0;                ///< which of them this is
  std::string master_address;          ///< of machine 0; empty: this one, where it is alone
  uint16_t master_port = 0;            ///< 0: one that is free; several machines need one
  unsigned join_timeout = 0;           ///< seconds, for BERTRAND_JOIN_TIMEOUT; 0: it stays as it is
  bool tag = false;           ///< "[rank] " before each line on the processes' standard error
  double grace_seconds = 30;  ///< between SIGTERM and SIGKILL, where one process has failed
};

/// How it went.
struct LaunchEnd {
  /// Of the process that failed first; 128 + n where signal n ended it. One that only missed the
  /// others (kElsewhereExitCode), or was ended by us, is not named where another is the cause.
  int exit_code = 0;
  std::string sentence;  ///< which process failed, and how; empty where none did
};

/// Starts the program so many times with RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE,
/// MASTER_ADDR and MASTER_PORT set, and returns when all have ended. Where one fails the others get
/// SIGTERM, and SIGKILL later. SIGINT, SIGTERM and SIGHUP are passed on (unless they are ignored),
/// SIGTSTP and SIGCONT as well. Where this process is killed, they are, too. Their standard input
/// is empty, and they do not belong to the terminal's foreground, so that its signals come once.
///
/// To be called while there is but one thread. Throws Error: usage where the numbers make no sense,
/// runtime where the system gives no process or port.
LaunchEnd launch(const LaunchOptions& options);

/// A TCP port of this machine that nobody listens on now. Throws Error (runtime).
uint16_t free_port();

}  // namespace bertrand
