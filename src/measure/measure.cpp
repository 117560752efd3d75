#include "measure/measure.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "base/thread_pool.h"
#include "engine/cpu/cpu_engine.h"
#include "measure/blocks.h"
#include "measure/seconds.h"

namespace bertrand::measure {
namespace {

/// Samples R as long as `config` and `options` live.
Blocks blocks_with(const BertConfig& config, const Options& options) {
  return Blocks([&config, &options] {
    return measure_rates(config, options.threads, /*repeats=*/options.quick ? 2 : 20);
  });
}

Result measure_inference(const BertConfig& config, Engine& engine, const Options& options,
                         std::mt19937& random) {
  const std::vector<Block> blocks = blocks_of(Work::inference, options.quick);
  engine.forward(random_batches(blocks[0].lengths, kBatchTokens, random).front());
  Blocks timed = blocks_with(config, options);
  for (const Block& block : blocks) {
    const std::vector<PackedBatch> batches = random_batches(block.lengths, kBatchTokens, random);
    const Lengths lengths = lengths_of(block.lengths);
    timed.run(useful_work(config, lengths), lengths.windows, [&] {
      for (const PackedBatch& batch : batches) {
        engine.forward(batch);
      }
    });
  }
  return timed.result();
}

Result measure_training(const BertConfig& config, Work work, Engine& engine, const Options& options,
                        std::mt19937& random) {
  const std::vector<Block> blocks = blocks_of(work, options.quick);
  uint64_t made = 0;
  TrainingStep warm_up = training_steps(blocks[0], random).back();
  warm_up.batches.resize(1);  // of its parts, which are alike, the first is the largest
  warm_up.targets.resize(1);
  train(engine, warm_up, made++);
  Blocks timed = blocks_with(config, options);
  for (const Block& block : blocks) {
    const std::vector<TrainingStep> steps = training_steps(block, random);
    const Lengths lengths = lengths_of(block.lengths);
    timed.run(3 * useful_work(config, lengths), lengths.windows, [&] {
      for (const TrainingStep& step : steps) {
        train(engine, step, made++);
      }
    });
  }
  return timed.result();
}

Result measure_latency(const BertConfig& config, size_t tokens, Engine& engine,
                       const Options& options, std::mt19937& random) {
  constexpr double kSeconds = 6;  // spent on windows alone, where 50 to 1000 of them allow it
  constexpr long kProbe = 1'000'000;
  const std::vector<size_t> lengths = {tokens};
  const PackedBatch batch = random_batches(lengths, tokens, random).front();
  const auto forward = [&] { engine.forward(batch); };
  forward();
  ThreadPool pool(options.threads);
  time_fma_loop(pool, kProbe);
  const double once = std::min(seconds_of(forward), seconds_of(forward));
  const auto steps = std::max(1L, std::lround(once / time_fma_loop(pool, kProbe) * kProbe));
  const int count = options.quick ? 5 : static_cast<int>(std::clamp(kSeconds / once, 50.0, 1000.0));

  Blocks timed = blocks_with(config, options);
  std::vector<double> windows;
  std::vector<double> loops;
  for (int i = 0; i < count; ++i) {
    windows.push_back(seconds_of(forward));
    loops.push_back(time_fma_loop(pool, steps));
  }
  const Latency latency = latency_of(windows, loops);
  timed.add(useful_work(config, lengths_of(lengths)), 1, latency.median);
  Result result = timed.result();
  result.latency = latency;
  return result;
}

Result measure_scaling(const BertConfig& config, Engine& engine, const Options& options,
                       std::mt19937& random) {
  Options of_one = options;
  of_one.threads = 1;
  const std::unique_ptr<Engine> one = make_cpu_engine(config, {1, options.precision});
  load_random_parameters(*one, random);
  const std::vector<Block> blocks = blocks_of(Work::scaling, options.quick);
  for (Engine* each : {&engine, one.get()}) {
    each->forward(random_batches(blocks[0].lengths, kBatchTokens, random).front());
  }
  Blocks on_all = blocks_with(config, options);
  Blocks on_one = blocks_with(config, of_one);
  for (const Block& block : blocks) {
    const std::vector<PackedBatch> batches = random_batches(block.lengths, kBatchTokens, random);
    const Lengths lengths = lengths_of(block.lengths);
    const auto run = [&](Blocks& timed, Engine& on) {
      timed.run(useful_work(config, lengths), lengths.windows, [&] {
        for (const PackedBatch& batch : batches) {
          on.forward(batch);
        }
      });
    };
    run(on_all, engine);
    run(on_one, *one);
  }
  std::vector<double> ratios;
  for (size_t i = 0; i < blocks.size(); ++i) {
    ratios.push_back(on_all.fractions()[i] / on_one.fractions()[i]);
  }
  Result result = on_all.result();
  result.valid = result.valid && on_one.result().valid;
  result.scaling = quantile(ratios, 0.5);
  return result;
}

}  // namespace

Result measure(const BertConfig& config, Work work, const Options& options) {
  const std::unique_ptr<Engine> engine =
      make_cpu_engine(config, {options.threads, options.precision});
  std::mt19937 random(1);
  load_random_parameters(*engine, random);
  switch (work) {
    case Work::inference:
      return measure_inference(config, *engine, options, random);
    case Work::training:
    case Work::training_4:
      return measure_training(config, work, *engine, options, random);
    case Work::latency_128:
      return measure_latency(config, 128, *engine, options, random);
    case Work::latency_384:
      return measure_latency(config, 384, *engine, options, random);
    case Work::scaling:
      return measure_scaling(config, *engine, options, random);
  }
  return {};
}

double quantile(std::span<const double> values, double share) {
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const double place = share * static_cast<double>(sorted.size() - 1);
  return sorted[static_cast<size_t>(std::lround(place))];
}

}  // namespace bertrand::measure
