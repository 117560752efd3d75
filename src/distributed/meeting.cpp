#include "distributed/meeting.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <optional>
#include <poll.h>
#include <set>
#include <sstream>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "distributed/patience.h"
#include "distributed/sockets.h"

namespace bertrand {
namespace {

// What is said: a line of who comes, "here" as soon as it is read, and "go" with what rank 0 knows
// of the machines when all are there, or "no" with what is wrong with the one who came (nothing
// behind it: rank 0 says it). Then bytes, as many as both ends know of.
constexpr const char* kGreeting = "bertrand";
constexpr int kProtocol = 1;
constexpr size_t kLongestLine = 1000;
constexpr const char* kNoAddress = "-";

/// The same for all processes that this kernel runs.
std::string this_machine() {
  std::string boot;
  if (std::ifstream("/proc/sys/kernel/random/boot_id") >> boot) {
    return boot;
  }
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return *name.data() != '\0' ? name.data() : "unknown";
}

bool send_line(int socket, const std::string& text) {
  const std::string line = text + '\n';
  return send_all(socket, std::as_bytes(std::span(line)));
}

/// "2, 5 and 7", of many the first ones.
std::string text_of(const std::vector<unsigned>& ranks) {
  constexpr size_t kShown = 8;
  std::string text;
  for (size_t i = 0; i < std::min(ranks.size(), kShown); ++i) {
    const bool last = i + 1 == ranks.size();
    text += (i == 0 ? "" : last ? " and " : ", ") + std::to_string(ranks[i]);
  }
  return ranks.size() > kShown ? fmt::format("{} and {} more", text, ranks.size() - kShown) : text;
}

}  // namespace

/// Rank 0: takes in the others.
class MeetingHost {
 public:
  MeetingHost(const MeetingOptions& options, const std::string& machine)
      : options_(options),
        listener_(listen_on(options.port)),
        came_(options.place.count),
        machine_of_(options.place.count) {
    if (listener_.number() < 0) {
      throw Error(ErrorCode::runtime,
                  fmt::format("The processes cannot meet on port {} of this machine ({}); give "
                              "another --master-port (MASTER_PORT), the same to all of them.",
                              options.port, std::strerror(errno)));
    }
    machine_of_[0] = machine;
  }

  void wait() {
    while (!missing().empty()) {
      if (patience_.left() == 0) {
        fail(ErrorCode::runtime,
             fmt::format("{} did not come within {:.0f} seconds. Look whether all processes run "
                         "and have the same MASTER_ADDR and MASTER_PORT; --join-timeout of launch "
                         "and BERTRAND_JOIN_TIMEOUT let them wait longer.",
                         who(missing(), "Rank", "Ranks"), options_.timeout_seconds));
      }
      patience_.tell_when_due([this] {
        return fmt::format("Waiting for {} on port {}: {} of {} processes are here.",
                           who(missing(), "rank", "ranks"), options_.port,
                           came_.size() - missing().size(), came_.size());
      });
      take_news();
    }
    listener_.close();
    callers_.clear();
  }

  /// Tells all that they are there, each what the meeting is to know.
  void let_go(Meeting& meeting) {
    const std::set<std::string> machines(machine_of_.begin(), machine_of_.end());
    std::string own = kNoAddress;
    for (unsigned rank = 1; rank < came_.size() && own == kNoAddress; ++rank) {
      if (machine_of_[rank] != machine_of_[0]) own = own_number(came_[rank].number());
    }
    for (unsigned rank = 1; rank < came_.size(); ++rank) {
      const int socket = came_[rank].number();
      const bool is_near = machine_of_[rank] == machine_of_[0];
      send_line(socket, fmt::format("go {} {} {}", local_count(rank), machines.size(),
                                    is_near ? own : other_number(socket)));
      set_patience(socket, options_.timeout_seconds);
    }
    meeting.machines_ = static_cast<unsigned>(machines.size());
    meeting.local_count_ = local_count(0);
    meeting.own_address_ = own == kNoAddress ? "" : own;
    meeting.others_ = std::move(came_);
  }

 private:
  struct Caller {
    Descriptor socket;
    std::string text;
    bool gone = false;
  };

  static std::string who(const std::vector<unsigned>& ranks, const char* one, const char* many) {
    return fmt::format("{} {}", ranks.size() == 1 ? one : many, text_of(ranks));
  }

  std::vector<unsigned> missing() const {
    std::vector<unsigned> ranks;
    for (unsigned rank = 1; rank < came_.size(); ++rank) {
      if (came_[rank].number() < 0) ranks.push_back(rank);
    }
    return ranks;
  }

  unsigned local_count(unsigned rank) const {
    return static_cast<unsigned>(
        std::count(machine_of_.begin(), machine_of_.end(), machine_of_[rank]));
  }

  [[noreturn]] void fail(ErrorCode code, const std::string& sentence) const {
    for (const Descriptor& other : came_) {
      if (other.number() >= 0) send_line(other.number(), "no");
    }
    throw Error(code, sentence);
  }

  void take_news() {
    std::vector<pollfd> files = {{listener_.number(), POLLIN, 0}};
    for (const Caller& caller : callers_) files.push_back({caller.socket.number(), POLLIN, 0});
    for (const Descriptor& other : came_) files.push_back({other.number(), POLLIN, 0});
    ::poll(files.data(), files.size(), patience_.milliseconds());
    miss_those_gone();
    for (Caller& caller : callers_) read(caller);
    std::erase_if(callers_, [](const Caller& caller) { return caller.gone; });
    if ((files[0].revents & POLLIN) != 0) {
      Descriptor socket(::accept4(listener_.number(), nullptr, nullptr, SOCK_CLOEXEC));
      if (socket.number() >= 0) callers_.push_back({std::move(socket), {}});
    }
  }

  /// They have nothing to say while they wait: what can be read is their end.
  void miss_those_gone() const {
    for (unsigned rank = 1; rank < came_.size(); ++rank) {
      if (came_[rank].number() >= 0 && is_gone(came_[rank].number())) {
        fail(ErrorCode::elsewhere,
             fmt::format("Rank {} has ended while the others were waited for.", rank));
      }
    }
  }

  static bool is_gone(int socket) {
    char nothing = 0;
    const ssize_t got = ::recv(socket, &nothing, 1, MSG_DONTWAIT | MSG_PEEK);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
  }

  void read(Caller& caller) {
    std::array<char, kLongestLine> buffer{};
    const ssize_t got = ::recv(caller.socket.number(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
      return;
    }
    caller.text.append(buffer.data(), static_cast<size_t>(std::max<ssize_t>(0, got)));
    const size_t end = caller.text.find('\n');
    if (end != std::string::npos) {
      take_in(caller, caller.text.substr(0, end));
    }
    // Whoever knocks at ports is let go.
    caller.gone = end != std::string::npos || got <= 0 || caller.text.size() > kLongestLine;
  }

  void take_in(Caller& caller, const std::string& line) {
    std::istringstream words(line);
    std::string greeting, machine;
    int protocol = 0;
    unsigned rank = 0, count = 0;
    if (!(words >> greeting >> protocol) || greeting != kGreeting) {
      return;
    }
    const int socket = caller.socket.number();
    if (protocol != kProtocol || !(words >> rank >> count >> machine)) {
      send_line(socket, "no Rank 0 is of another version of Bertrand; start all with the same.");
      return;
    }
    if (count != came_.size() || rank == 0 || rank >= count || came_[rank].number() >= 0) {
      send_line(
          socket,
          fmt::format("no Rank 0 waits for {} of {} processes, not for rank {} of {}: another "
                      "run meets on port {}, or one rank was started twice. Give each run a "
                      "--master-port (MASTER_PORT) of its own.",
                      text_of(missing()), came_.size(), rank, count, options_.port));
      return;
    }
    send_line(socket, "here");
    came_[rank] = std::move(caller.socket);
    machine_of_[rank] = machine;
  }

  const MeetingOptions& options_;
  Patience patience_{options_};
  Descriptor listener_;
  std::vector<Caller> callers_;          // who have not said yet who they are
  std::vector<Descriptor> came_;         // by rank
  std::vector<std::string> machine_of_;  // the same
};

/// Any other rank: finds rank 0.
class MeetingGuest {
 public:
  MeetingGuest(const MeetingOptions& options, const std::string& machine)
      : options_(options),
        greeting_(fmt::format("{} {} {} {} {}", kGreeting, kProtocol, options.place.rank,
                              options.place.count, machine)) {}

  void join(Meeting& meeting) {
    while (!is_taken_in()) {
      constexpr auto kBetween = std::chrono::milliseconds(100);
      keep_waiting();
      std::this_thread::sleep_for(kBetween);
    }
    const std::optional<std::string> answer = next_line();
    if (!answer || !answer->starts_with("go ")) {
      refused(answer);
    }
    std::istringstream words(answer->substr(3));
    words >> meeting.local_count_ >> meeting.machines_ >> meeting.own_address_;
    if (meeting.own_address_ == kNoAddress || meeting.machines_ == 1) meeting.own_address_.clear();
    set_patience(socket_.number(), options_.timeout_seconds);
    meeting.others_.push_back(std::move(socket_));
  }

 private:
  std::string place() const { return fmt::format("{}:{}", options_.address, options_.port); }

  bool is_taken_in() {
    constexpr double kTry = 5;
    socket_ =
        connect_to(options_.address, options_.port, std::min(kTry, 1 + patience_.left()), why_);
    if (socket_.number() < 0 || !send_line(socket_.number(), greeting_)) {
      return false;
    }
    why_ = "what listens there does not answer";
    const std::optional<std::string> answer = next_line();
    if (answer && answer->starts_with("no")) {
      refused(answer);
    }
    is_here_ = answer == "here";
    return is_here_;
  }

  /// Without its end; nothing where rank 0 is gone.
  std::optional<std::string> next_line() {
    std::string text;
    while (text.size() < kLongestLine) {
      keep_waiting();
      pollfd news{socket_.number(), POLLIN, 0};
      if (::poll(&news, 1, patience_.milliseconds()) <= 0) {
        continue;
      }
      char letter = 0;
      if (::recv(socket_.number(), &letter, 1, 0) != 1) {
        return std::nullopt;
      }
      if (letter == '\n') {
        return text;
      }
      text += letter;
    }
    return std::nullopt;
  }

  /// Throws where it is over. Rank 0 counts for all who are there.
  void keep_waiting() {
    if (is_here_) {
      return;
    }
    if (patience_.left() == 0) {
      throw Error(ErrorCode::runtime,
                  fmt::format("Rank {}: rank 0 was not met at {} within {:.0f} seconds ({}). Look "
                              "whether it runs and MASTER_ADDR and MASTER_PORT are right.",
                              options_.place.rank, place(), options_.timeout_seconds, why_));
    }
    patience_.tell_when_due([this] {
      return fmt::format("Rank {}: waiting for rank 0 at {} ({}).", options_.place.rank, place(),
                         why_);
    });
  }

  [[noreturn]] void refused(const std::optional<std::string>& answer) const {
    constexpr size_t kBegin = 3;  // "no "
    if (!answer) {
      throw Error(ErrorCode::elsewhere,
                  fmt::format("Rank {}: rank 0 has ended while the others were waited for.",
                              options_.place.rank));
    }
    const std::string sentence = answer->size() > kBegin ? answer->substr(kBegin) : "";
    throw Error(sentence.empty() ? ErrorCode::elsewhere : ErrorCode::usage, sentence);
  }

  const MeetingOptions& options_;
  const std::string greeting_;
  Patience patience_{options_};
  Descriptor socket_;
  std::string why_ = "not tried yet";
  bool is_here_ = false;
};

Meeting::Meeting(const MeetingOptions& options)
    : place_(options.place), machine_(options.machine.empty() ? this_machine() : options.machine) {
  if (place_.rank != 0) {
    MeetingGuest(options, machine_).join(*this);
    return;
  }
  MeetingHost host(options, machine_);
  host.wait();
  host.let_go(*this);
}

void Meeting::send(unsigned rank, std::span<const std::byte> bytes) const {
  if (!send_all(others_[rank].number(), bytes)) {
    throw Error(ErrorCode::elsewhere, fmt::format("Rank {} has ended before the run began.", rank));
  }
}

void Meeting::receive(unsigned rank, std::span<std::byte> bytes) const {
  if (!receive_all(others_[rank].number(), bytes)) {
    throw Error(ErrorCode::elsewhere,
                fmt::format("Rank {} {} before the run began.", rank,
                            errno == EAGAIN ? "did not answer any more" : "has ended"));
  }
}

template <typename Value>
void Meeting::sum_of(std::span<Value> values) {
  if (place_.rank != 0) {
    send(0, std::as_bytes(values));
    receive(0, std::as_writable_bytes(values));
    return;
  }
  std::vector<Value> of_one(values.size());
  for (unsigned rank = 1; rank < place_.count; ++rank) {
    receive(rank, std::as_writable_bytes(std::span(of_one)));
    std::transform(values.begin(), values.end(), of_one.begin(), values.begin(), std::plus<>());
  }
  for (unsigned rank = 1; rank < place_.count; ++rank) {
    send(rank, std::as_bytes(values));
  }
}

void Meeting::sum(std::span<double> values) { sum_of(values); }
void Meeting::sum(std::span<float> values) { sum_of(values); }

void Meeting::broadcast(std::span<std::byte> bytes, unsigned root) {
  if (place_.rank != 0) {
    return place_.rank == root ? send(0, bytes) : receive(0, bytes);
  }
  if (root != 0) {
    receive(root, bytes);
  }
  for (unsigned rank = 1; rank < place_.count; ++rank) {
    if (rank != root) send(rank, bytes);
  }
}

void Meeting::barrier() {
  double nothing = 0;
  sum(std::span(&nothing, 1));
}

}  // namespace bertrand
