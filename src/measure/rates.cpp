#include "measure/rates.h"

#include <algorithm>
#include <array>
#include <barrier>
#include <cmath>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "engine/cpu/buffers.h"
#include "engine/cpu/packed.h"
#include "engine/cpu/products.h"
#include "measure/fma_loop.h"
#include "measure/seconds.h"

namespace bertrand::measure {
namespace {

/// A packed f32 product of made-up numbers, on the thread that calls it.
using Product = std::function<void()>;

/// The engine's own, in blocks of rows as it works.
Product own_product(const cpu::ProductShape& shape) {
  struct Operands {
    cpu::Rows<float> in, out;
    cpu::Aligned<float> panels;
  };
  const auto operands = std::make_shared<Operands>();
  operands->in.reserve(shape.m, shape.k);
  operands->out.reserve(shape.m, shape.n);
  std::fill_n(operands->in.row(0), shape.m * operands->in.stride(), 0.5F);
  const size_t size = cpu::panels_size(shape.k, shape.n, cpu::panel_width());
  operands->panels.reserve(size);
  std::fill_n(operands->panels.data(), size, 0.5F);
  return [shape, operands] {
    constexpr size_t kBlock = cpu::kMostBlockRows;
    auto& [in, out, panels] = *operands;
    for (size_t row = 0; row < shape.m; row += kBlock) {
      cpu::multiply(cpu::PackedProduct{std::min(kBlock, shape.m - row), shape.n, shape.k,
                                       in.row(row), in.stride(), panels.data(), /*bias=*/nullptr,
                                       out.row(row), out.stride(), /*accumulate=*/false});
    }
  };
}

/// Times of one shape on one thread, the best of some repeats.
struct Best {
  /// Of all products known, in seconds. R is the rate of the fastest of them, so that a library
  /// that is slow on some processor does not make the fractions look good there.
  std::array<double, 2> products = {kNever, kNever};
  double loop = kNever;  ///< of the register loop, in seconds a floating point operation

  static constexpr double kNever = std::numeric_limits<double>::infinity();
};

/// The register loop, so many steps; tells how many a second.
double run_loop(double steps, Best& best) {
  const long whole = std::max(1L, std::lround(steps));
  float sum = 0;
  double flop = 0;
  const double seconds = seconds_of([&] { flop = fma_loop(whole, sum); });
  best.loop = std::min(best.loop, seconds / flop);
  return static_cast<double>(whole) / seconds;
}

/// Threads that begin each part of a measurement together.
using Together = std::barrier<>;

Best measure_shape(const cpu::ProductShape& shape, int repeats, Together& together) {
  constexpr double kProbe = 100'000;  // steps of the loop, a fraction of a millisecond
  const std::array<Product, 2> products = {own_product(shape), cpu::packed_product(shape)};
  Best best;
  Best probe;  // too short to count
  double rate = run_loop(kProbe, probe);
  for (int repeat = 0; repeat < repeats; ++repeat) {
    double shortest = Best::kNever;
    for (size_t i = 0; i < products.size(); ++i) {
      together.arrive_and_wait();
      const double seconds = seconds_of(products[i]);
      best.products[i] = std::min(best.products[i], seconds);
      shortest = std::min(shortest, seconds);
    }
    together.arrive_and_wait();
    rate = run_loop(rate * shortest, best);
  }
  return best;
}

}  // namespace

Rates measure_rates(const BertConfig& config, unsigned threads, int repeats) {
  constexpr size_t kRows = 2048;
  const auto hidden = static_cast<size_t>(config.hidden_size);
  const auto wide = static_cast<size_t>(config.intermediate_size);
  ThreadPool pool(threads);
  Rates rates;
  for (const auto& [n, k] : {std::pair{3 * hidden, hidden}, std::pair{hidden, hidden},
                             std::pair{wide, hidden}, std::pair{hidden, wide}}) {
    const cpu::ProductShape shape{std::max<size_t>(1, kRows / threads), n, k};
    std::vector<Best> of_threads(threads);
    Together together(threads);
    std::vector<std::exception_ptr> failures(threads);
    // One item a thread: a thread that waits takes no other. None is to wait for one that failed.
    pool.for_each(threads, [&](size_t item, unsigned) {
      try {
        of_threads[item] = measure_shape(shape, repeats, together);
      } catch (...) {
        failures[item] = std::current_exception();
      }
      together.arrive_and_drop();
    });
    for (const std::exception_ptr& failure : failures) {
      if (failure) {
        std::rethrow_exception(failure);
      }
    }
    Best slowest = {{0, 0}, 0};
    for (const Best& best : of_threads) {
      for (size_t i = 0; i < best.products.size(); ++i) {
        slowest.products[i] = std::max(slowest.products[i], best.products[i]);
      }
      slowest.loop = std::max(slowest.loop, best.loop);
    }
    const double flop = 2.0 * static_cast<double>(shape.m * threads * n * k);
    const double seconds = *std::min_element(slowest.products.begin(), slowest.products.end());
    rates.product = std::max(rates.product, 1e-9 * flop / seconds);
    rates.fma = std::max(rates.fma, 1e-9 * threads / slowest.loop);
  }
  return rates;
}

double time_fma_loop(ThreadPool& pool, long steps) {
  std::vector<float> sums(pool.size(), 0.0F);
  return seconds_of([&] {
    pool.for_each(pool.size(), [&](size_t item, unsigned) { fma_loop(steps, sums[item]); });
  });
}

}  // namespace bertrand::measure
