#include "measure/rates.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <utility>
#include <vector>

#include "engine/cpu/buffers.h"
#include "engine/cpu/packed.h"
#include "engine/cpu/products.h"
#include "measure/fma_loop.h"

namespace bertrand::measure {
namespace {

/// Times a packed f32 product on the calling thread, the best of some repeats, in seconds.
using ProductTimer = double (*)(const cpu::ProductShape& shape, int repeats);

/// The engine's own, in blocks of rows as it works.
double time_own_product(const cpu::ProductShape& shape, int repeats) {
  constexpr size_t kBlock = cpu::kMostBlockRows;
  cpu::Rows<float> in;
  cpu::Rows<float> out;
  cpu::Aligned<float> panels;
  in.reserve(shape.m, shape.k);
  out.reserve(shape.m, shape.n);
  std::fill_n(in.row(0), shape.m * in.stride(), 0.5F);
  const size_t size = cpu::panels_size(shape.k, shape.n, cpu::panel_width());
  panels.reserve(size);
  std::fill_n(panels.data(), size, 0.5F);
  double best = std::numeric_limits<double>::infinity();
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const auto begin = std::chrono::steady_clock::now();
    for (size_t row = 0; row < shape.m; row += kBlock) {
      cpu::multiply(cpu::PackedProduct{std::min(kBlock, shape.m - row), shape.n, shape.k,
                                       in.row(row), in.stride(), panels.data(), /*bias=*/nullptr,
                                       out.row(row), out.stride(), /*accumulate=*/false});
    }
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    best = std::min(best, taken.count());
  }
  return best;
}

/// All products known. R is the rate of the fastest of them, so that a library that is slow on some
/// processor does not make the fractions look good there.
constexpr std::array<ProductTimer, 2> kProducts = {cpu::time_packed_product, time_own_product};

constexpr long kFmaSteps = 200'000;

double largest(const std::vector<double>& values) {
  return *std::max_element(values.begin(), values.end());
}

}  // namespace

double product_rate(const BertConfig& config, unsigned threads, int repeats) {
  constexpr size_t kRows = 2048;
  const auto hidden = static_cast<size_t>(config.hidden_size);
  const auto wide = static_cast<size_t>(config.intermediate_size);
  ThreadPool pool(threads);
  double best = 0;
  for (const auto& [n, k] : {std::pair{3 * hidden, hidden}, std::pair{hidden, hidden},
                             std::pair{wide, hidden}, std::pair{hidden, wide}}) {
    const cpu::ProductShape shape{std::max<size_t>(1, kRows / threads), n, k};
    for (const ProductTimer timer : kProducts) {
      std::vector<double> seconds(threads);
      // one item a thread, so that all run at the same time
      pool.for_each(threads, [&](size_t item, unsigned) { seconds[item] = timer(shape, repeats); });
      const double flop = 2.0 * static_cast<double>(shape.m * threads * n * k);
      best = std::max(best, 1e-9 * flop / largest(seconds));
    }
  }
  return best;
}

double fma_rate(unsigned threads, int repeats) {
  ThreadPool pool(threads);
  std::vector<double> seconds(threads);
  std::vector<double> flop(threads);
  pool.for_each(threads, [&](size_t item, unsigned) {
    float sum = 0;
    double best = 0;
    for (int repeat = 0; repeat < repeats; ++repeat) {
      sum = 0;
      const auto begin = std::chrono::steady_clock::now();
      flop[item] = fma_loop(kFmaSteps, sum);
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
      best = repeat == 0 ? taken.count() : std::min(best, taken.count());
    }
    seconds[item] = best;
  });
  return 1e-9 * flop[0] * threads / largest(seconds);
}

double time_fma_loop(ThreadPool& pool, long steps) {
  std::vector<float> sums(pool.size(), 0.0F);
  const auto begin = std::chrono::steady_clock::now();
  pool.for_each(pool.size(), [&](size_t item, unsigned) { fma_loop(steps, sums[item]); });
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace bertrand::measure
