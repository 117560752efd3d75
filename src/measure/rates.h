#pragma once

#include "base/thread_pool.h"
#include "model/config.h"

namespace bertrand::measure {

/// What the machine can do, in GFLOP/s over all threads at the same time.
struct Rates {
  double product = 0;  ///< R: the best of a model's four forward products
  double fma = 0;      ///< multiply-adds on registers alone, the machine's limit
};

/// R is the best rate of the model's four forward products (query-key-value, attention output, and
/// the two of the feed-forward part) at 2048 rows in f32 with packed weights, the best of `repeats`
/// on `threads` threads that each compute their share of the rows, by oneDNN or by the engine's own
/// product, whichever is faster. In turns with them runs a loop that multiplies and adds f32
/// vectors on registers alone, by the widest instructions the processor has, as long each time as a
/// product: what else the machine does meets both alike.
Rates measure_rates(const BertConfig& config, unsigned threads, int repeats);

/// Seconds that the loop takes on all threads of `pool` at once for `steps` steps each: work
/// of a fixed size that no memory and no cache slows down.
double time_fma_loop(ThreadPool& pool, long steps);

/// R counts only where it reaches this share of the rate of the register loop: below, something
/// else held the processor back, and fractions of R say nothing.
inline constexpr double kLeastShare = 0.9;

}  // namespace bertrand::measure
