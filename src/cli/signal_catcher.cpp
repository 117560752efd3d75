#include "signal_catcher.h"

#include <cstdint>
#include <ctime>

namespace bertrand::cli {
namespace {

// What handlers may touch.
volatile std::sig_atomic_t caught_signal = 0;
volatile std::sig_atomic_t is_launched = 0;
volatile int64_t noted_at[NSIG] = {};  // milliseconds, by signal; 0: not yet

int64_t milliseconds_now() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

void note(int number) {
  constexpr int64_t kSameWish = 1000;
  const int64_t now = milliseconds_now();
  caught_signal = number;
  if (noted_at[number] == 0) {
    noted_at[number] = now;
  } else if (is_launched == 0 || now - noted_at[number] > kSameWish) {
    ::signal(number, SIG_DFL);
    ::raise(number);  // comes when this handler has returned
  }
}

}  // namespace

SignalCatcher::SignalCatcher(bool launched) {
  caught_signal = 0;
  for (const int number : kSignals) noted_at[number] = 0;
  is_launched = launched ? 1 : 0;
  struct sigaction noting {};
  noting.sa_handler = note;
  noting.sa_flags = SA_RESTART;
  for (const int number : kSignals) ::sigaddset(&noting.sa_mask, number);
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  for (size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], nullptr, &before_[i]);
    const bool ignored = before_[i].sa_handler == SIG_IGN;
    ::sigaction(kSignals[i], kSignals[i] == SIGPIPE || ignored ? &ignore : &noting, nullptr);
  }
}

SignalCatcher::~SignalCatcher() {
  for (size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], &before_[i], nullptr);
  }
}

int SignalCatcher::caught() { return caught_signal; }

}  // namespace bertrand::cli
