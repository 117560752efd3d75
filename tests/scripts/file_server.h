#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <mutex>
#include <netinet/in.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace bertrand::test {

/// Sends files over HTTP on the loopback, one connection after the other, and can break off.
class FileServer {
 public:
  explicit FileServer(std::map<std::string, std::string> files) : files_(std::move(files)) {
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (socket_ < 0 || ::bind(socket_, any, size) != 0 || ::listen(socket_, 8) != 0 ||
        ::getsockname(socket_, any, &size) != 0) {
      throw std::runtime_error("no socket on the loopback");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~FileServer() {
    ::shutdown(socket_, SHUT_RDWR);  // accept() returns
    thread_.join();
    ::close(socket_);
  }
  FileServer(const FileServer&) = delete;
  FileServer& operator=(const FileServer&) = delete;

  std::string address() const { return "http://127.0.0.1:" + std::to_string(port_); }

  /// So many bytes of a file go out in one connection, then it is closed; 0: all.
  void break_after(size_t bytes) { most_ = bytes; }

  /// Whole files only, whatever part is asked for.
  void send_whole_files_only() { ranges_ = false; }

  /// The first byte asked for in each request so far.
  std::vector<size_t> begins() const {
    const std::lock_guard lock(mutex_);
    return begins_;
  }

 private:
  void serve() {
    for (int peer = 0; (peer = ::accept(socket_, nullptr, nullptr)) >= 0;) {
      answer(peer);
      ::close(peer);
    }
  }

  static std::string request_of(int peer) {
    std::string request;
    std::array<char, 4096> block{};
    while (request.find("\r\n\r\n") == std::string::npos) {
      const ssize_t got = ::recv(peer, block.data(), block.size(), 0);
      if (got <= 0) break;
      request.append(block.data(), static_cast<size_t>(got));
    }
    return request;
  }

  static size_t begin_of(const std::string& request) {
    constexpr std::string_view kRange = "Range: bytes=";
    const size_t place = request.find(kRange);
    return place == std::string::npos ? 0 : std::stoul(request.substr(place + kRange.size()));
  }

  void answer(int peer) {
    const std::string request = request_of(peer);
    const size_t slash = request.find('/') + 1;
    const auto file = files_.find(request.substr(slash, request.find(' ', slash) - slash));
    const size_t begin = begin_of(request);
    {
      const std::lock_guard lock(mutex_);
      begins_.push_back(begin);
    }
    if (file == files_.end()) return send(peer, "404 Not Found", "", "");
    const std::string& text = file->second;
    if (begin == 0 || !ranges_) return send(peer, "200 OK", "", text);
    if (begin >= text.size()) return send(peer, "416 Range Not Satisfiable", "", "");
    send(peer, "206 Partial Content",
         "Content-Range: bytes " + std::to_string(begin) + "-" + std::to_string(text.size() - 1) +
             "/" + std::to_string(text.size()) + "\r\n",
         text.substr(begin));
  }

  void send(int peer, const std::string& status, const std::string& header,
            const std::string& body) const {
    const std::string all =
        "HTTP/1.1 " + status + "\r\n" + header + "Connection: close\r\n" +
        "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
        (most_ == 0 ? body : body.substr(0, std::min<size_t>(most_, body.size())));
    for (size_t sent = 0; sent < all.size();) {
      const ssize_t count = ::send(peer, all.data() + sent, all.size() - sent, MSG_NOSIGNAL);
      if (count <= 0) return;
      sent += static_cast<size_t>(count);
    }
  }

  const std::map<std::string, std::string> files_;
  std::atomic<size_t> most_{0};
  std::atomic<bool> ranges_{true};
  mutable std::mutex mutex_;
  std::vector<size_t> begins_;
  int socket_ = -1;
  unsigned port_ = 0;
  std::thread thread_;
};

}  // namespace bertrand::test
