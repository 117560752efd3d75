#include "distributed/sockets.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>

namespace bertrand {
namespace {

constexpr int kOn = 1, kOff = 0;

Descriptor listen_by(int family, const sockaddr* address, socklen_t size) {
  Descriptor listener(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (listener.number() < 0) {
    return listener;
  }
  ::setsockopt(listener.number(), SOL_SOCKET, SO_REUSEADDR, &kOn, sizeof kOn);
  if (family == AF_INET6) {
    ::setsockopt(listener.number(), IPPROTO_IPV6, IPV6_V6ONLY, &kOff, sizeof kOff);
  }
  if (::bind(listener.number(), address, size) != 0 ||
      ::listen(listener.number(), SOMAXCONN) != 0) {
    const int why = errno;
    listener.close();
    errno = why;
  }
  return listener;
}

/// A port that nobody listens on may be given to the connection itself: it then meets itself.
bool meets_itself(int socket) {
  sockaddr_storage own{}, other{};
  socklen_t own_size = sizeof own, other_size = sizeof other;
  return ::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &own_size) == 0 &&
         ::getpeername(socket, reinterpret_cast<sockaddr*>(&other), &other_size) == 0 &&
         own_size == other_size && std::memcmp(&own, &other, own_size) == 0;
}

Descriptor connect_by(const addrinfo& address, double seconds, std::string& why) {
  Descriptor socket(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  int problem = 0;
  if (socket.number() < 0) {
    problem = errno;
  } else if (::connect(socket.number(), address.ai_addr, address.ai_addrlen) != 0) {
    problem = errno;
    pollfd ready{socket.number(), POLLOUT, 0};
    if (problem == EINPROGRESS && ::poll(&ready, 1, static_cast<int>(seconds * 1e3)) == 0) {
      problem = ETIMEDOUT;
    } else if (problem == EINPROGRESS) {
      socklen_t size = sizeof problem;
      ::getsockopt(socket.number(), SOL_SOCKET, SO_ERROR, &problem, &size);
    }
  }
  if (problem == 0 && meets_itself(socket.number())) {
    problem = ECONNREFUSED;
  }
  if (problem != 0) {
    why = std::strerror(problem);
    return Descriptor();
  }
  ::fcntl(socket.number(), F_SETFL, ::fcntl(socket.number(), F_GETFL) & ~O_NONBLOCK);
  ::setsockopt(socket.number(), IPPROTO_TCP, TCP_NODELAY, &kOn, sizeof kOn);
  return socket;
}

template <typename Name>
std::string number_of(int socket, Name name) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  std::array<char, NI_MAXHOST> text{};
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  if (name(socket, plain, &size) != 0 ||
      ::getnameinfo(plain, size, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) != 0) {
    return {};
  }
  const std::string number = text.data();
  const std::string mapped = "::ffff:";  // IPv4 that came to a listener of both
  return number.starts_with(mapped) ? number.substr(mapped.size()) : number;
}

}  // namespace

Descriptor listen_on(uint16_t port) {
  sockaddr_in6 both{};
  both.sin6_family = AF_INET6;
  both.sin6_port = htons(port);
  Descriptor listener = listen_by(AF_INET6, reinterpret_cast<const sockaddr*>(&both), sizeof both);
  if (listener.number() >= 0 || errno == EADDRINUSE || errno == EACCES) {
    return listener;
  }
  sockaddr_in old{};
  old.sin_family = AF_INET;
  old.sin_port = htons(port);
  return listen_by(AF_INET, reinterpret_cast<const sockaddr*>(&old), sizeof old);
}

Descriptor connect_to(const std::string& host, uint16_t port, double seconds, std::string& why) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int problem = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &found);
  if (problem != 0) {
    why = ::gai_strerror(problem);
    return Descriptor();
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> all(found, ::freeaddrinfo);
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    Descriptor socket = connect_by(*address, seconds, why);
    if (socket.number() >= 0) {
      return socket;
    }
  }
  return Descriptor();
}

std::string own_number(int socket) { return number_of(socket, ::getsockname); }
std::string other_number(int socket) { return number_of(socket, ::getpeername); }

bool send_all(int socket, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) {
      continue;
    }
    if (sent <= 0) {
      return false;
    }
    bytes = bytes.subspan(static_cast<size_t>(sent));
  }
  return true;
}

bool receive_all(int socket, std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::recv(socket, bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got == 0) {
      errno = ECONNRESET;
    }
    if (got <= 0) {
      return false;
    }
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
  return true;
}

void set_patience(int socket, double seconds) {
  timeval patience{};
  patience.tv_sec = static_cast<time_t>(seconds);
  patience.tv_usec =
      static_cast<suseconds_t>((seconds - static_cast<double>(patience.tv_sec)) * 1e6);
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

void keep_alive(int socket) {
  constexpr int kQuietSeconds = 60, kBetweenSeconds = 15, kProbes = 8;
  ::setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &kOn, sizeof kOn);
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &kQuietSeconds, sizeof kQuietSeconds);
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &kBetweenSeconds, sizeof kBetweenSeconds);
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &kProbes, sizeof kProbes);
}

}  // namespace bertrand
