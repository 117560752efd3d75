#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "distributed/descriptor.h"
#include "distributed/meeting.h"

namespace bertrand {

/// What a watch does where a process is gone.
struct WatchOptions {
  /// Told who is gone, on a thread of the watch; is to end this process.
  std::function<void(const std::string& sentence)> end;
  /// For this process to notice by itself and to end in its own way.
  double grace_seconds = 10;
};

/// Misses the processes of a run that are gone while the others compute. NCCL and CNCL do not: who
/// exchanges with one that is gone waits without end, deaf to signals. Keeps the connections of the
/// meeting, each process's to rank 0. One that ends without a farewell means that its process is
/// gone; rank 0 tells the others. A machine that vanishes without a word is missed after some
/// minutes.
class Watch {
 public:
  Watch(Meeting& meeting, WatchOptions options);

  /// Without a farewell the others miss this process.
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  /// To be called by each process when it exchanges nothing any more: returns when all have, so
  /// that none takes away what another still exchanges by, or when some is gone or the grace is
  /// over. From then on nobody is missed.
  void farewell();

 private:
  using Clock = std::chrono::steady_clock;

  /// The connection to another process.
  struct Other {
    unsigned rank = 0;
    Descriptor socket;
    std::string address;    ///< of its machine; empty: this one
    std::string text = {};  ///< read, but not yet a line
    bool said_farewell = false;
  };

  void watch();
  void wait_for_news();
  void read(Other& other);
  void take(Other& other, const std::string& line);
  void miss(unsigned rank, const std::string& address);
  void end_when_due();
  void tell_all(const std::string& line) const;
  void wake() const;
  void stop();

  const ProcessPlace place_;
  const WatchOptions options_;
  Descriptor wake_;

  std::mutex mutex_;  // for all that follows
  std::condition_variable changed_;
  std::vector<Other> others_;
  std::string sentence_;                    // who is gone; empty: nobody
  std::optional<Clock::time_point> since_;  // the grace runs
  bool takes_leave_ = false, stops_ = false;
  std::thread thread_;
};

/// While one lives no watch ends this process: it does work of its own, such as writing files, and
/// waits for nobody.
class Undisturbed {
 public:
  Undisturbed() { ++living; }
  ~Undisturbed() { --living; }
  Undisturbed(const Undisturbed&) = delete;
  Undisturbed& operator=(const Undisturbed&) = delete;

  static bool any() { return living > 0; }

 private:
  static inline std::atomic<int> living = 0;
};

}  // namespace bertrand
