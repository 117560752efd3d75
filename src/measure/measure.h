#pragma once

#include <span>
#include <string>

#include "engine/engine.h"
#include "measure/rates.h"
#include "measure/work.h"
#include "model/config.h"

namespace bertrand::measure {

struct Options {
  unsigned threads = 1;
  Precision precision = Precision::fp32;
  bool quick = false;  ///< little work, few repeats: to see that it works, not to measure
};

/// Seconds of one window computed alone, many times.
struct Latency {
  double median = 0;
  double percentile_99 = 0;
  /// How much above its median the 99th percentile of a register loop is that takes as long and was
  /// run in turns with the windows: what the machine adds, not the program.
  double machine_excess = 0;

  double spread() const { return (percentile_99 - machine_excess) / median; }
};

/// Of the seconds of windows, and of register loops that ran in turns with them; neither empty.
Latency latency_of(std::span<const double> windows, std::span<const double> loops);

/// What one work came to. Rates are in GFLOP/s.
struct Result {
  double fraction = 0;            ///< F / (time x R), the median over blocks
  double gflops = 0;              ///< F / time, the median over blocks
  double windows_per_second = 0;  ///< of all blocks together
  double seconds = 0;             ///< of all blocks together
  Rates rates;                    ///< medians over blocks
  bool valid = true;              ///< R reached kLeastShare of the register loop; else void
  Latency latency;                ///< of latency work alone
  /// Of scaling work alone: the fraction on all threads by that on one, each of the R of as many
  /// threads, the median over blocks. Below 1 the engine gains less from threads than the product.
  double scaling = 0;
};

/// Measures one work on an engine with random weights. R and the rate of the register loop are
/// sampled before and after each timed block; a block is held against the better R of its two. The
/// largest batch is computed once beforehand. Scaling runs each block on all threads and then on
/// one; all its figures but `scaling` are those of all threads, and it is void where R of either
/// is. Throws Error as the engine does.
Result measure(const BertConfig& config, Work work, const Options& options);

/// The value below which `share` (0 to 1) of the values lie, the nearest of them; values need not
/// be sorted and must not be empty.
double quantile(std::span<const double> values, double share);

}  // namespace bertrand::measure
