#pragma once

#include <functional>
#include <vector>

#include "measure/measure.h"

namespace bertrand::measure {

/// Timed blocks of work, each between two samples of what the machine can do.
class Blocks {
 public:
  using Sampler = std::function<Rates()>;

  /// Takes the first sample.
  explicit Blocks(Sampler sample);

  /// Times a block of `gflop` useful work in `windows` windows.
  void run(double gflop, double windows, const std::function<void()>& work);

  /// The same for a block that was timed otherwise, since the last one.
  void add(double gflop, double windows, double seconds);

  /// F / (time x R) of each block, R the better of the two samples around it.
  const std::vector<double>& fractions() const { return fraction_; }

  /// Without latency and scaling. There must be a block.
  Result result() const;

 private:
  Sampler sample_;
  Rates before_;
  std::vector<double> product_, fma_, gflops_, fraction_;
  double windows_ = 0;
  double seconds_ = 0;
};

}  // namespace bertrand::measure
