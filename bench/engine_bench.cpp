// Inference and training as GFLOP/s and as a fraction of the rate R of matrix products in the same
// run.
//
// Useful work F of windows of T tokens: the sum of 2 W T + 4 L H T^2 with W = L (4 H^2 + 2 H I); a
// training step is 3 F. Everything else (bias, GELU, LayerNorm, softmax, dropout, embeddings, the
// optimizer) counts as time but not as work, and there is no padding. R is the best rate of the
// model's four forward products at 2048 rows in f32 with packed weights on all threads, measured
// before and after the timed block; fraction = F / (time * R).
#include <algorithm>
#include <chrono>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/thread_pool.h"
#include "engine/cpu/cpu_engine.h"
#include "engine/cpu/products.h"
#include "squad_lengths.h"

namespace bertrand::bench {
namespace {

BertConfig bert_base() { return {}; }

BertConfig mini_lm() {
  BertConfig config;
  config.hidden_size = 384;
  config.num_hidden_layers = 6;
  config.intermediate_size = 1536;
  return config;
}

/// F of windows of these lengths, in GFLOP.
double useful_work(const BertConfig& config, std::span<const size_t> lengths) {
  const auto layers = static_cast<double>(config.num_hidden_layers);
  const auto hidden = static_cast<double>(config.hidden_size);
  const auto wide = static_cast<double>(config.intermediate_size);
  const double weights = layers * (4 * hidden * hidden + 2 * hidden * wide);
  double work = 0;
  for (const size_t length : lengths) {
    const auto tokens = static_cast<double>(length);
    work += 2 * weights * tokens + 4 * layers * hidden * tokens * tokens;
  }
  return work * 1e-9;
}

/// R, in GFLOP/s.
double product_rate(const BertConfig& config) {
  constexpr size_t kRows = 2048;
  constexpr int kRepeats = 20;
  const auto hidden = static_cast<size_t>(config.hidden_size);
  const auto wide = static_cast<size_t>(config.intermediate_size);
  const unsigned threads = available_threads();
  ThreadPool pool(threads);
  double best = 0;
  for (const auto& [n, k] : {std::pair{3 * hidden, hidden}, std::pair{hidden, hidden},
                             std::pair{wide, hidden}, std::pair{hidden, wide}}) {
    const cpu::ProductShape shape{kRows / threads, n, k};
    std::vector<double> seconds(threads);
    // one item a thread, so that all run at the same time
    pool.for_each(threads, [&](size_t item, unsigned) {
      seconds[item] = cpu::time_packed_product(shape, kRepeats);
    });
    const double slowest = *std::max_element(seconds.begin(), seconds.end());
    best = std::max(best, 2e-9 * static_cast<double>(shape.m * threads * n * k) / slowest);
  }
  return best;
}

/// An engine with random weights, and batches of random tokens.
class Model {
 public:
  Model(const BertConfig& config, Precision precision)
      : engine_(make_cpu_engine(config, {available_threads(), precision})) {
    std::normal_distribution<float> normal(0, 0.02F);
    engine_->load_parameters([&](const ParameterInfo&, std::span<float> values) {
      for (float& value : values) {
        value = normal(random_);
      }
    });
  }

  Engine& engine() { return *engine_; }

  PackedBatch batch(std::span<const size_t> lengths) {
    PackedBatch packed;
    for (const size_t length : lengths) {
      std::vector<int32_t> ids(length);
      for (int32_t& id : ids) {
        id = static_cast<int32_t>(random_() % 30000);
      }
      constexpr size_t kQuestion = 12;
      packed.add(ids, std::min(kQuestion, length), packed.windows());
    }
    return packed;
  }

 private:
  std::mt19937 random_{1};
  std::unique_ptr<Engine> engine_;
};

/// Times `work` between two measurements of R and reports what the file's head tells.
template <typename Work>
void measure(benchmark::State& state, const BertConfig& config, double gflop, size_t windows,
             const Work& work) {
  work();  // memory touched, primitives made
  double limit = product_rate(config);
  double seconds = 0;
  double done = 0;
  for ([[maybe_unused]] auto round : state) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    state.SetIterationTime(taken.count());
    seconds += taken.count();
    done += 1;
  }
  limit = std::max(limit, product_rate(config));
  state.counters["GFLOP/s"] = gflop * done / seconds;
  state.counters["R"] = limit;
  state.counters["fraction"] = gflop * done / seconds / limit;
  state.counters["windows/s"] = static_cast<double>(windows) * done / seconds;
}

void inference(benchmark::State& state, const BertConfig& config, Precision precision) {
  Model model(config, precision);
  const std::span<const size_t> lengths = kInferenceLengths;
  constexpr size_t kBatch = 24;
  std::vector<PackedBatch> batches;
  for (size_t first = 0; first < lengths.size(); first += kBatch) {
    batches.push_back(
        model.batch(lengths.subspan(first, std::min(kBatch, lengths.size() - first))));
  }
  measure(state, config, useful_work(config, lengths), lengths.size(), [&] {
    for (const PackedBatch& batch : batches) {
      benchmark::DoNotOptimize(model.engine().forward(batch));
    }
  });
}

/// Whole steps: forward, backward with dropout, clipping and AdamW, in micro-batches as train makes
/// them.
void training(benchmark::State& state, const BertConfig& config, Precision precision) {
  Model model(config, precision);
  const std::span<const size_t> lengths = kTrainingLengths;
  struct Step {
    std::vector<PackedBatch> parts;
    std::vector<SpanTargets> targets;
  };
  std::vector<Step> steps;
  constexpr size_t kTokens = 4096;
  for (size_t first = 0; first < lengths.size(); first += kTrainingBatch) {
    const auto batch = lengths.subspan(first, kTrainingBatch);
    const size_t tokens = std::accumulate(batch.begin(), batch.end(), size_t{0});
    const size_t parts = (tokens + kTokens - 1) / kTokens;
    const size_t each = (kTrainingBatch + parts - 1) / parts;
    Step& step = steps.emplace_back();
    for (size_t begin = 0; begin < kTrainingBatch; begin += each) {
      const auto part = batch.subspan(begin, std::min(each, kTrainingBatch - begin));
      step.parts.push_back(model.batch(part));
      step.targets.push_back(
          {std::vector<int32_t>(part.size(), 20), std::vector<int32_t>(part.size(), 22)});
    }
  }
  uint64_t made = 0;
  measure(state, config, 3 * useful_work(config, lengths), lengths.size(), [&] {
    for (const Step& step : steps) {
      const Dropout dropout{/*seed=*/1, made++, /*hidden=*/0.1, /*attention=*/0.1};
      for (size_t part = 0; part < step.parts.size(); ++part) {
        model.engine().backward(step.parts[part], step.targets[part], dropout,
                                1.0 / kTrainingBatch);
      }
      model.engine().step(/*learning_rate=*/1e-6, OptimizerSettings());
    }
  });
}

void add(const std::string& name, const BertConfig& config) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    if (precision == Precision::bf16 && !cpu_multiplies_bf16()) {
      continue;
    }
    const std::string end = "/" + name + "/" + name_of(precision);
    const auto once = [](benchmark::internal::Benchmark* one) {
      one->Iterations(1)->UseManualTime()->Unit(benchmark::kMillisecond);
    };
    once(benchmark::RegisterBenchmark(("inference" + end).c_str(), [=](benchmark::State& state) {
      inference(state, config, precision);
    }));
    once(benchmark::RegisterBenchmark(("training" + end).c_str(), [=](benchmark::State& state) {
      training(state, config, precision);
    }));
  }
}

}  // namespace
}  // namespace bertrand::bench

int main(int argc, char** argv) {
  bertrand::bench::add("minilm", bertrand::bench::mini_lm());
  bertrand::bench::add("bert-base", bertrand::bench::bert_base());
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
    return 2;
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
