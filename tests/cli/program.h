#pragma once

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/temporary_folder.h"
#include "places.h"

namespace bertrand::test {

/// What a run of the program left.
struct Outcome {
  int status = -1;    ///< exit code; -1 where a signal ended it
  size_t memory = 0;  ///< the most bytes it held at any time; 0: not known
  std::string out;
  std::string err;
};

inline constexpr const char* kNoPlugin =
    "no libbertrand_torch.so (configure with -DBERTRAND_TORCH=ON)";

/// Whether the program finds what computes through LibTorch and joins several processes.
inline bool has_plugin() {
  const char* given = std::getenv("BERTRAND_TORCH_PLUGIN");
  return std::filesystem::exists(given != nullptr
                                     ? std::filesystem::path(given)
                                     : std::filesystem::path(kProgram).parent_path().parent_path() /
                                           "lib/libbertrand_torch.so");
}

/// Runs the program in a folder of its own.
class Program {
 public:
  std::filesystem::path path(const std::string& name) const { return folder_.path() / name; }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary) << text;
  }

  std::string read(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  /// `arguments` as a shell reads them; redirections may follow. Standard input is empty unless
  /// redirected.
  Outcome run(const std::string& arguments, const std::string& before = "") const {
    return outcome(std::system(command(before, arguments).c_str()));
  }

  /// The same, without waiting; its process is the program's own, so that it can be signalled.
  pid_t start(const std::string& arguments) const {
    const std::string line = command("exec", arguments);
    const pid_t process = ::fork();
    if (process == 0) {
      for (const int number : {SIGHUP, SIGINT, SIGTERM}) ::signal(number, SIG_DFL);
      ::execl("/bin/sh", "sh", "-c", line.c_str(), static_cast<char*>(nullptr));
      ::_exit(127);
    }
    return process;
  }

  /// Whether a process that was started has come to its end; wait() is still to be called.
  static bool has_ended(pid_t process) {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(process), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid != 0;
  }

  Outcome wait(pid_t process) const {
    int status = -1;
    rusage usage{};
    ::wait4(process, &status, 0, &usage);
    Outcome result = outcome(status);
    result.memory = static_cast<size_t>(usage.ru_maxrss) << 10;
    return result;
  }

 private:
  std::string command(const std::string& before, const std::string& arguments) const {
    return "cd '" + folder_.path().string() + "' && exec </dev/null >out 2>err; " + before + " '" +
           kProgram + "' " + arguments;
  }

  Outcome outcome(int status) const {
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0, read("out"), read("err")};
  }

  TemporaryFolder folder_;
};

}  // namespace bertrand::test
