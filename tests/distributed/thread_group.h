#pragma once

#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "distributed/process_group.h"

namespace bertrand::test {

/// "Processes" that are threads of this one. A sum is made in f64 in the order of the ranks, by
/// each for itself. A member that is destroyed while others wait for it is a process that died.
class ThreadGroup {
 public:
  explicit ThreadGroup(unsigned count) : count_(count), places_(count), first_gone_(count) {}

  std::unique_ptr<ProcessGroup> member(unsigned rank) {
    return std::make_unique<Member>(*this, ProcessPlace{count_, rank});
  }

 private:
  class Member final : public ProcessGroup {
   public:
    Member(ThreadGroup& group, ProcessPlace place) : group_(group), place_(place) {}
    ~Member() override { group_.leave(place_.rank); }
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;

    ProcessPlace place() const override { return place_; }
    void sum(std::span<double> values) override { group_.sum(values, place_.rank); }
    void sum(std::span<float> values) override { group_.sum(values, place_.rank); }
    void broadcast(std::span<std::byte> bytes, unsigned root) override {
      group_.offer(bytes.data(), bytes.size(), place_.rank);
      const std::vector<std::byte> copy(group_.at<std::byte>(root),
                                        group_.at<std::byte>(root) + bytes.size());
      group_.meet();
      std::memcpy(bytes.data(), copy.data(), copy.size());
    }
    void barrier() override { group_.meet(); }

   private:
    ThreadGroup& group_;
    ProcessPlace place_;
  };

  struct Place {
    const void* data = nullptr;
    size_t bytes = 0;
  };

  template <typename T>
  const T* at(unsigned rank) const {
    return static_cast<const T*>(places_[rank].data);
  }

  /// Shows the others where the values of this rank are, and waits for theirs, as many as these.
  void offer(const void* data, size_t bytes, unsigned rank) {
    {
      const std::lock_guard lock(mutex_);
      places_[rank] = {data, bytes};
    }
    meet();
    for (const Place& place : places_) {
      if (place.bytes != bytes) {
        throw Error(ErrorCode::runtime, "The processes do not make the same calls.");
      }
    }
  }

  template <typename T>
  void sum(std::span<T> values, unsigned rank) {
    offer(values.data(), values.size_bytes(), rank);
    std::vector<T> sums;
    sums.reserve(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      double total = 0;
      for (unsigned from = 0; from < count_; ++from) {
        total += static_cast<double>(at<T>(from)[i]);
      }
      sums.push_back(static_cast<T>(total));
    }
    meet();
    std::copy(sums.begin(), sums.end(), values.begin());
  }

  void meet() {
    std::unique_lock lock(mutex_);
    const uint64_t round = round_;
    if (++waiting_ == count_) {
      waiting_ = 0;
      ++round_;
      changed_.notify_all();
      return;
    }
    changed_.wait(lock, [&] { return round_ != round || first_gone_ < count_; });
    if (round_ == round) {
      throw Error(ErrorCode::runtime, "Process " + std::to_string(first_gone_) + " is gone.");
    }
  }

  void leave(unsigned rank) {
    const std::lock_guard lock(mutex_);
    if (first_gone_ == count_) first_gone_ = rank;
    changed_.notify_all();
  }

  const unsigned count_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Place> places_;
  unsigned first_gone_;  // in time; count_ while all are there
  unsigned waiting_ = 0;
  uint64_t round_ = 0;
};

/// Runs `body` as each of `count` processes at once, and returns when all have ended: what each
/// threw, by rank; nullptr where it threw nothing.
inline std::vector<std::exception_ptr> run_processes(
    unsigned count, const std::function<void(ProcessGroup& group)>& body) {
  ThreadGroup group(count);
  std::vector<std::exception_ptr> thrown(count);
  std::vector<std::jthread> threads;
  for (unsigned rank = 0; rank < count; ++rank) {
    threads.emplace_back([&, rank, member = group.member(rank)]() mutable {
      try {
        body(*member);
      } catch (...) {
        thrown[rank] = std::current_exception();
      }
      member.reset();
    });
  }
  threads.clear();
  return thrown;
}

/// The same, where none is to fail: what one threw is thrown again.
inline void run_good_processes(unsigned count,
                               const std::function<void(ProcessGroup& group)>& body) {
  for (const std::exception_ptr& thrown : run_processes(count, body)) {
    if (thrown) std::rethrow_exception(thrown);
  }
}

}  // namespace bertrand::test
