#pragma once

#include <chrono>

namespace bertrand::measure {

/// What `work()` takes, by the clock.
template <typename Work>
double seconds_of(Work&& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace bertrand::measure
