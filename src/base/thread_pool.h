#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <thread>
#include <vector>

namespace bertrand {

/// How many threads this process may use: the CPUs of its affinity mask, no more than the quota of
/// its cgroup (rounded up), at least 1.
unsigned available_threads();

/// `asked`, but no more than available_threads(), and all of those where it is 0: more threads than
/// processors only wait for one another.
unsigned usable_threads(unsigned asked);

/// A fixed set of threads that share out loops. Not re-entrant: a body must not call for_each of
/// the pool it runs in.
class ThreadPool {
 public:
  using Body = std::function<void(size_t index, unsigned worker)>;

  /// `threads` counts the caller's own thread: 1 starts none. Throws Error (runtime) where the
  /// system gives no more threads.
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  unsigned size() const { return static_cast<unsigned>(workers_.size()) + 1; }

  /// Calls body(index, worker) once for each index below count; whichever thread is free takes the
  /// next index in rising order. worker is below size() and says which thread runs it (0: the
  /// caller). Returns when all are done. The first exception thrown by a body is thrown again here;
  /// indices not yet begun are then left out.
  /// In bodies denormal numbers count as 0; the caller's own setting comes back.
  void for_each(size_t count, const Body& body);

 private:
  void stop();
  void work(unsigned worker);
  void run(unsigned worker);

  std::vector<std::thread> workers_;
  const Body* body_ = nullptr;
  size_t count_ = 0;
  std::atomic<size_t> next_{0};
  std::atomic<uint32_t> round_{0};    // raised to start a loop
  std::atomic<uint32_t> running_{0};  // workers still in the loop
  std::atomic<bool> stop_{false};
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_;
};

}  // namespace bertrand
