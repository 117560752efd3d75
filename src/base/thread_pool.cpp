#include "base/thread_pool.h"

#include <algorithm>
#include <sched.h>
#include <system_error>

#include <fmt/format.h>

#include "base/cgroup.h"
#include "base/error.h"
#include "base/flush_denormals.h"

namespace bertrand {
namespace {

/// A loop in the engine lasts from microseconds up; a short spin spares the futex between two of
/// them.
template <typename Ready>
bool spin_until(const Ready& ready) {
  constexpr int kSpins = 2000;
  for (int spin = 0; spin < kSpins; ++spin) {
    if (ready()) {
      return true;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  return false;
}

}  // namespace

unsigned available_threads() {
  unsigned cpus = std::max(1U, std::thread::hardware_concurrency());
  cpu_set_t mask;
  if (::sched_getaffinity(0, sizeof mask, &mask) == 0) {
    cpus = static_cast<unsigned>(std::max(1, CPU_COUNT(&mask)));
  }
  const unsigned limit = cgroup_cpus();
  return limit == 0 ? cpus : std::min(cpus, limit);
}

unsigned usable_threads(unsigned asked) {
  const unsigned available = available_threads();
  return asked == 0 ? available : std::min(asked, available);
}

ThreadPool::ThreadPool(unsigned threads) {
  workers_.reserve(std::max(threads, 1U) - 1);  // from here on nothing but a thread can be lacking
  try {
    for (unsigned worker = 1; worker < threads; ++worker) {
      workers_.emplace_back([this, worker] { work(worker); });
    }
  } catch (const std::system_error& error) {
    stop();
    throw Error(ErrorCode::runtime,
                fmt::format("Of {} threads only {} could be started ({}); ask for fewer.", threads,
                            size(), error.code().message()));
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  stop_ = true;
  ++round_;
  round_.notify_all();
  for (std::thread& worker : workers_) {
    worker.join();
  }
}

void ThreadPool::for_each(size_t count, const Body& body) {
  if (count == 0) {
    return;
  }
  const FlushDenormals flush;
  body_ = &body;
  count_ = count;
  next_ = 0;
  failed_ = false;
  failure_ = nullptr;
  if (count == 1 || workers_.empty()) {
    run(/*worker=*/0);
  } else {
    running_ = static_cast<uint32_t>(workers_.size());
    ++round_;
    round_.notify_all();
    run(/*worker=*/0);
    if (!spin_until([this] { return running_ == 0; })) {
      for (uint32_t left = running_; left != 0; left = running_) {
        running_.wait(left);
      }
    }
  }
  if (failure_) {
    std::rethrow_exception(failure_);
  }
}

void ThreadPool::work(unsigned worker) {
  const FlushDenormals flush;
  uint32_t seen = 0;
  while (true) {
    if (!spin_until([&] { return round_ != seen; })) {
      round_.wait(seen);
    }
    if (round_ == seen) {
      continue;
    }
    ++seen;
    if (stop_) {
      return;
    }
    run(worker);
    if (--running_ == 0) {
      running_.notify_one();
    }
  }
}

void ThreadPool::run(unsigned worker) {
  for (size_t index = next_++; index < count_ && !failed_; index = next_++) {
    try {
      (*body_)(index, worker);
    } catch (...) {
      if (!failed_.exchange(true)) {
        failure_ = std::current_exception();
      }
    }
  }
}

}  // namespace bertrand
