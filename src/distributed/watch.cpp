#include "distributed/watch.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <poll.h>
#include <span>
#include <sstream>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "distributed/sockets.h"

namespace bertrand {
namespace {

// What is said: that this process exchanges nothing any more, by rank 0 when all have said it; and
// by rank 0 who is gone: "gone 2 10.0.0.7".
constexpr const char* kFarewell = "farewell";
constexpr const char* kGone = "gone";
constexpr const char* kHere = "-";
constexpr size_t kLongestLine = 200;

bool is_local(const std::string& address) {
  return address.empty() || address == "::1" || address.starts_with("127.");
}

bool send_line(int socket, const std::string& text) {
  const std::string line = text + '\n';
  return send_all(socket, std::as_bytes(std::span(line)));
}

/// A thread that takes no signal: they are for those who await them.
template <typename Work>
std::thread quiet_thread(const Work& work) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(work);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

Watch::Watch(Meeting& meeting, WatchOptions options)
    : place_(meeting.place()),
      options_(std::move(options)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  unsigned rank = 0;
  for (Descriptor& socket : meeting.take_connections()) {
    if (socket.number() >= 0) {
      keep_alive(socket.number());
      const std::string address = other_number(socket.number());
      others_.push_back({rank, std::move(socket), is_local(address) ? "" : address});
    }
    ++rank;
  }
  thread_ = quiet_thread([this] { watch(); });
}

Watch::~Watch() { stop(); }

void Watch::farewell() {
  std::unique_lock lock(mutex_);
  takes_leave_ = true;
  if (place_.rank != 0) {
    tell_all(kFarewell);
  }
  const auto all_did = [this] {
    return !sentence_.empty() ||
           std::all_of(others_.begin(), others_.end(),
                       [](const Other& other) { return other.said_farewell; });
  };
  changed_.wait_for(lock, std::chrono::duration<double>(options_.grace_seconds), all_did);
  if (place_.rank == 0) {
    tell_all(kFarewell);
  }
  lock.unlock();
  stop();
}

void Watch::stop() {
  {
    const std::lock_guard lock(mutex_);
    stops_ = true;
  }
  wake();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void Watch::wake() const {
  const uint64_t once = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.number(), &once, sizeof once);
}

void Watch::watch() {
  while (true) {
    wait_for_news();
    const std::lock_guard lock(mutex_);
    // What came before the end is passed on: the others are to hear whose end was the first.
    for (Other& other : others_) read(other);
    if (stops_) {
      return;
    }
    end_when_due();
  }
}

void Watch::wait_for_news() {
  std::vector<pollfd> files = {{wake_.number(), POLLIN, 0}};
  int milliseconds = -1;
  {
    const std::lock_guard lock(mutex_);
    for (const Other& other : others_) files.push_back({other.socket.number(), POLLIN, 0});
    if (since_) {
      // Undisturbed work ends without a word to us.
      constexpr double kLongest = 1;
      milliseconds = 1 + static_cast<int>(1e3 * std::min(kLongest, options_.grace_seconds));
    }
  }
  ::poll(files.data(), files.size(), milliseconds);
}

void Watch::read(Other& other) {
  std::array<char, kLongestLine> buffer{};
  while (other.socket.number() >= 0) {
    const ssize_t got = ::recv(other.socket.number(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
      return;
    }
    if (got <= 0) {
      other.socket.close();
      if (!other.said_farewell) miss(other.rank, other.address);
      return;
    }
    other.text.append(buffer.data(), static_cast<size_t>(got));
    for (size_t end = 0; (end = other.text.find('\n')) != std::string::npos;) {
      take(other, other.text.substr(0, end));
      other.text.erase(0, end + 1);
    }
    other.text.resize(std::min(other.text.size(), kLongestLine));
  }
}

void Watch::take(Other& other, const std::string& line) {
  std::istringstream words(line);
  std::string what, address;
  unsigned rank = 0;
  words >> what;
  if (what == kFarewell) {
    other.said_farewell = true;
    changed_.notify_all();
  } else if (what == kGone && place_.rank != 0 && words >> rank >> address) {
    miss(rank, address == kHere ? "" : address);
  }
}

void Watch::miss(unsigned rank, const std::string& address) {
  if (!sentence_.empty()) {
    return;
  }
  sentence_ = fmt::format(
      "Rank {} of {} is gone{}: it failed, was ended, or cannot be reached any more. Rank {} would "
      "wait for it without end, and ends, too.",
      rank, place_.count, address.empty() ? "" : fmt::format(" (it was at {})", address),
      place_.rank);
  since_ = Clock::now();
  changed_.notify_all();
  if (place_.rank == 0) {
    tell_all(fmt::format("{} {} {}", kGone, rank, address.empty() ? kHere : address));
  }
}

void Watch::end_when_due() {
  if (!since_ || takes_leave_) {
    return;
  }
  if (Undisturbed::any()) {
    since_ = Clock::now();
  } else if (std::chrono::duration<double>(Clock::now() - *since_).count() >=
             options_.grace_seconds) {
    since_.reset();
    options_.end(sentence_);
  }
}

void Watch::tell_all(const std::string& line) const {
  for (const Other& other : others_) {
    if (other.socket.number() >= 0) send_line(other.socket.number(), line);
  }
}

}  // namespace bertrand
