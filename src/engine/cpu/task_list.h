#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "base/thread_pool.h"

namespace bertrand::cpu {

/// Loops that need nothing of one another, run as one: no thread waits for the end of each. Threads
/// take them in the order they were added, so the smallest pieces of work come last.
class TaskList {
 public:
  /// body(index, worker) for every index below count; see ThreadPool::for_each.
  void add(size_t count, ThreadPool::Body body) {
    count_ += count;
    loops_.emplace_back(count, std::move(body));
  }

  void run(ThreadPool& pool) const {
    pool.for_each(count_, [this](size_t index, unsigned worker) {
      for (const auto& [count, body] : loops_) {
        if (index < count) {
          body(index, worker);
          return;
        }
        index -= count;
      }
    });
  }

 private:
  std::vector<std::pair<size_t, ThreadPool::Body>> loops_;
  size_t count_ = 0;
};

}  // namespace bertrand::cpu
