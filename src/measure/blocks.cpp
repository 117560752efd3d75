#include "measure/blocks.h"

#include <algorithm>
#include <utility>

#include "measure/seconds.h"

namespace bertrand::measure {
namespace {

double median(std::span<const double> values) { return quantile(values, 0.5); }

}  // namespace

Blocks::Blocks(Sampler sample) : sample_(std::move(sample)), before_(sample_()) {}

void Blocks::run(double gflop, double windows, const std::function<void()>& work) {
  add(gflop, windows, seconds_of(work));
}

void Blocks::add(double gflop, double windows, double seconds) {
  const Rates after = sample_();
  const Rates best = {std::max(before_.product, after.product), std::max(before_.fma, after.fma)};
  before_ = after;
  product_.push_back(best.product);
  fma_.push_back(best.fma);
  gflops_.push_back(gflop / seconds);
  fraction_.push_back(gflop / seconds / best.product);
  windows_ += windows;
  seconds_ += seconds;
}

Result Blocks::result() const {
  Result result;
  result.fraction = median(fraction_);
  result.gflops = median(gflops_);
  result.windows_per_second = windows_ / seconds_;
  result.seconds = seconds_;
  result.rates = {median(product_), median(fma_)};
  result.valid = result.rates.product >= kLeastShare * result.rates.fma;
  return result;
}

Latency latency_of(std::span<const double> windows, std::span<const double> loops) {
  return {median(windows), quantile(windows, 0.99),
          std::max(0.0, quantile(loops, 0.99) - median(loops))};
}

}  // namespace bertrand::measure
