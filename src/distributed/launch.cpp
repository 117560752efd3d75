#include "distributed/launch.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <optional>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "distributed/descriptor.h"
#include "distributed/line_tagger.h"

namespace bertrand {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const char* what) {
  throw Error(ErrorCode::runtime, fmt::format("launch: {} ({}).", what, std::strerror(errno)));
}

constexpr std::array kPassedOn = {SIGINT, SIGTERM, SIGHUP};

bool is_ignored(int number) {
  struct sigaction now {};
  ::sigaction(number, nullptr, &now);
  return now.sa_handler == SIG_IGN;
}

/// Signals come through a descriptor while it lives.
class SignalReader {
 public:
  SignalReader() {
    sigset_t wanted;
    ::sigemptyset(&wanted);
    // SIGPIPE: that nobody reads our standard error is no reason to end.
    for (const int number : {SIGCHLD, SIGTSTP, SIGCONT, SIGPIPE}) ::sigaddset(&wanted, number);
    for (const int number : kPassedOn) {
      if (!is_ignored(number)) ::sigaddset(&wanted, number);
    }
    ::sigprocmask(SIG_BLOCK, &wanted, &before_);
    descriptor_ = Descriptor(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
    if (descriptor_.number() < 0) {
      restore();
      fail("signals cannot be read");
    }
  }
  ~SignalReader() {
    while (next() != 0) {
    }
    restore();
  }
  SignalReader(const SignalReader&) = delete;
  SignalReader& operator=(const SignalReader&) = delete;

  void restore() const { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }
  int descriptor() const { return descriptor_.number(); }

  /// The next signal; 0 where there is none.
  int next() const {
    signalfd_siginfo info{};
    const bool got = ::read(descriptor(), &info, sizeof info) == sizeof info;
    return got ? static_cast<int>(info.ssi_signo) : 0;
  }

 private:
  sigset_t before_{};
  Descriptor descriptor_;
};

struct Process {
  pid_t id = 0;
  unsigned rank = 0;
  bool running = true;
  Descriptor errors;  ///< what it writes to its standard error; none where it writes to ours
  LineTagger tagger;
};

/// How long one that failed itself may still run after another has ended for its sake.
constexpr std::chrono::seconds kTimeOfCause{3};
/// And how long rank 0, which says for all what was wrong, after the one that was.
constexpr std::chrono::seconds kTimeToSpeak{1};

class Launch {
 public:
  explicit Launch(const LaunchOptions& options)
      : options_(options), port_(options.master_port != 0 ? options.master_port : free_port()) {}

  ~Launch() {
    // Where starting one failed, those begun before are not to stay.
    for (const Process& process : processes_) {
      if (process.running) {
        ::kill(process.id, SIGKILL);
        ::waitpid(process.id, nullptr, 0);
      }
    }
  }
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  LaunchEnd go() {
    for (unsigned local = 0; local < options_.processes; ++local) {
      start(local);
    }
    while (any_runs()) {
      wait_for_news();
      read_errors();
      for (int number = signals_.next(); number != 0; number = signals_.next()) {
        take(number);
      }
      kill_when_due();
    }
    read_errors();
    for (Process& process : processes_) {
      process.tagger.finish(STDERR_FILENO);
    }
    return end_;
  }

 private:
  bool any_runs() const {
    return std::any_of(processes_.begin(), processes_.end(),
                       [](const Process& process) { return process.running; });
  }

  void start(unsigned local) {
    const unsigned rank = options_.machine * options_.processes + local;
    std::array<int, 2> ends = {-1, -1};
    if (options_.tag && ::pipe2(ends.data(), O_CLOEXEC) != 0) {
      fail("no pipe can be made");
    }
    Descriptor read_end(ends[0]), write_end(ends[1]);
    const pid_t parent = ::getpid();
    const pid_t process = ::fork();
    if (process < 0) {
      fail("no process can be started");
    }
    if (process == 0) {
      become(rank, local, parent, write_end.number());
    }
    ::setpgid(process, process);  // as the child does: whoever comes first
    if (options_.tag) {
      ::fcntl(read_end.number(), F_SETFL, O_NONBLOCK);
    }
    processes_.push_back({process, rank, /*running=*/true, std::move(read_end),
                          LineTagger(fmt::format("[{}] ", rank))});
  }

  /// In the child: never comes back.
  [[noreturn]] void become(unsigned rank, unsigned local, pid_t parent, int errors) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) {
      ::_exit(1);  // it was killed in between
    }
    const auto set = [](const char* name, const std::string& value) {
      ::setenv(name, value.c_str(), /*overwrite=*/1);
    };
    set("RANK", std::to_string(rank));
    set("LOCAL_RANK", std::to_string(local));
    set("WORLD_SIZE", std::to_string(options_.processes * options_.machines));
    set("LOCAL_WORLD_SIZE", std::to_string(options_.processes));
    set("MASTER_ADDR", options_.master_address.empty() ? "127.0.0.1" : options_.master_address);
    set("MASTER_PORT", std::to_string(port_));
    if (options_.join_timeout > 0) {
      set("BERTRAND_JOIN_TIMEOUT", std::to_string(options_.join_timeout));
    }
    if (const int nothing = ::open("/dev/null", O_RDONLY); nothing >= 0) {
      ::dup2(nothing, STDIN_FILENO);
      ::close(nothing);
    }
    if (errors >= 0) {
      ::dup2(errors, STDERR_FILENO);
    }
    std::vector<char*> arguments;
    for (const std::string& word : options_.arguments) {
      arguments.push_back(const_cast<char*>(word.c_str()));
    }
    arguments.push_back(nullptr);
    signals_.restore();
    ::execvp(options_.program.c_str(), arguments.data());
    const std::string problem =
        fmt::format("launch: {} cannot be run ({}).\n", options_.program, std::strerror(errno));
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, problem.data(), problem.size());
    ::_exit(127);
  }

  void wait_for_news() {
    std::vector<pollfd> files = {{signals_.descriptor(), POLLIN, 0}};
    for (const Process& process : processes_) {
      if (process.errors.number() >= 0) {
        files.push_back({process.errors.number(), POLLIN, 0});
      }
    }
    int milliseconds = -1;
    if (const auto due = kill_at_ ? kill_at_ : tell_at_) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*due - Clock::now());
      milliseconds = static_cast<int>(std::max<int64_t>(0, left.count()));
    }
    ::poll(files.data(), files.size(), milliseconds);
  }

  void read_errors() {
    std::array<char, 4096> buffer{};
    for (Process& process : processes_) {
      while (process.errors.number() >= 0) {
        const ssize_t got = ::read(process.errors.number(), buffer.data(), buffer.size());
        if (got > 0) {
          process.tagger.add({buffer.data(), static_cast<size_t>(got)}, STDERR_FILENO);
        } else if (got < 0 && errno == EINTR) {
          continue;
        } else {
          if (got == 0) process.errors.close();
          break;
        }
      }
    }
  }

  void take(int number) {
    switch (number) {
      case SIGCHLD:
        return reap();
      case SIGTSTP:
        send(SIGSTOP);
        ::raise(SIGSTOP);
        return;
      case SIGCONT:
        return send(SIGCONT);
      case SIGPIPE:
        return;
      default:
        told_to_end_ = true;
        send(number);
    }
  }

  void send(int number) const {
    for (const Process& process : processes_) {
      if (process.running) ::kill(process.id, number);
    }
  }

  void reap() {
    for (Process& process : processes_) {
      int status = 0;
      if (process.running && ::waitpid(process.id, &status, WNOHANG) == process.id) {
        process.running = false;
        note(process.rank, status);
      }
    }
  }

  /// What the end of a process means for the others.
  void note(unsigned rank, int status) {
    const bool exited = WIFEXITED(status);
    const int code = exited ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (code == 0) {
      return;
    }
    const auto is_stop = [&](int number) { return code == 128 + number; };
    const bool stopped = std::any_of(kPassedOn.begin(), kPassedOn.end(), is_stop);
    const bool of_others = exited ? code == kElsewhereExitCode : ended_by_us(WTERMSIG(status));
    if (end_.exit_code == 0 || (end_is_of_others_ && !of_others && !stopped)) {
      end_is_of_others_ = of_others;
      end_.exit_code = code;
      end_.sentence.clear();
      if (!stopped || (!exited && !told_to_end_)) {
        end_.sentence = exited ? fmt::format("Rank {} failed with exit code {}.", rank, code)
                               : fmt::format("Rank {} was ended by signal {} ({}).", rank,
                                             WTERMSIG(status), ::strsignal(WTERMSIG(status)));
        end_.sentence += any_runs() ? " The others are ended, too." : "";
      }
    }
    // Whoever was the cause, or speaks for it, may be about to say so.
    if (exited && !stopped && any_runs() && !told_to_end_) {
      const auto due = Clock::now() + (of_others ? kTimeOfCause : kTimeToSpeak);
      tell_at_ = tell_at_ ? std::min(*tell_at_, due) : due;
      return;
    }
    tell_to_end();
    // One that stopped of its own will has agreed with the others, which may be busy with a
    // snapshot. Any other leaves them waiting for it.
    if (!(stopped && exited)) kill_after_grace();
  }

  void tell_to_end() {
    tell_at_.reset();
    if (!std::exchange(told_to_end_, true)) {
      send(SIGTERM);
    }
  }

  void kill_after_grace() {
    if (kill_at_) return;
    const std::chrono::duration<double> grace(options_.grace_seconds);
    kill_at_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(grace);
  }

  bool ended_by_us(int number) const {
    return (number == SIGTERM && told_to_end_) || (number == SIGKILL && killed_);
  }

  void kill_when_due() {
    if (tell_at_ && Clock::now() >= *tell_at_) {
      tell_to_end();
      kill_after_grace();
    }
    if (kill_at_ && Clock::now() >= *kill_at_) {
      killed_ = true;
      send(SIGKILL);
      kill_at_ = Clock::now() + std::chrono::seconds(1);
    }
  }

  const LaunchOptions& options_;
  const uint16_t port_;
  SignalReader signals_;
  std::vector<Process> processes_;
  bool told_to_end_ = false;
  bool killed_ = false;                       // those that did not listen
  bool end_is_of_others_ = false;             // end_ tells of one that others ended
  std::optional<Clock::time_point> tell_at_;  // the others, after one that ended for their sake
  std::optional<Clock::time_point> kill_at_;
  LaunchEnd end_;
};

}  // namespace

uint16_t free_port() {
  const Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  socklen_t size = sizeof address;
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  if (listener.number() < 0 || ::bind(listener.number(), plain, size) != 0 ||
      ::getsockname(listener.number(), plain, &size) != 0) {
    fail("no free port is found");
  }
  return ntohs(address.sin_port);
}

LaunchEnd launch(const LaunchOptions& options) {
  if (options.arguments.empty() || options.processes == 0 || options.machines == 0) {
    throw Error(ErrorCode::usage,
                fmt::format("launch: {} processes on {} machines cannot be started.",
                            options.processes, options.machines));
  }
  if (options.machine >= options.machines) {
    throw Error(ErrorCode::usage,
                fmt::format("launch: --node-rank {}: with --nnodes {} the machines have the "
                            "numbers from 0 to {}.",
                            options.machine, options.machines, options.machines - 1));
  }
  if (options.machines > 1 && (options.master_port == 0 || options.master_address.empty())) {
    throw Error(
        ErrorCode::usage,
        "launch: several machines need --master-addr, by which all of them reach machine 0, "
        "and --master-port, the same on all of them.");
  }
  return Launch(options).go();
}

}  // namespace bertrand
