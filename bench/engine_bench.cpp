// Inference, training and latency as GFLOP/s and as a fraction of the rate R of matrix products in
// the same run, as src/measure counts them.
#include <string>

#include <benchmark/benchmark.h>

#include "base/thread_pool.h"
#include "measure/measure.h"

namespace bertrand::bench {
namespace {

void run(benchmark::State& state, const BertConfig& config, measure::Work work,
         Precision precision) {
  for ([[maybe_unused]] auto round : state) {
    const measure::Result result =
        measure::measure(config, work, {.threads = available_threads(), .precision = precision});
    state.SetIterationTime(result.seconds);
    state.counters["GFLOP/s"] = result.gflops;
    state.counters["R"] = result.rates.product;
    state.counters["FMA"] = result.rates.fma;
    state.counters["fraction"] = result.fraction;
    state.counters["windows/s"] = result.windows_per_second;
    if (!result.valid) {
      state.SetLabel("void: R is below 90 % of FMA");
    }
  }
}

void add(const std::string& model, const BertConfig& config) {
  for (const measure::Work work : measure::all_work()) {
    for (const Precision precision : measure::precisions(work)) {
      const std::string name =
          std::string(measure::name_of(work)) + "/" + model + "/" + name_of(precision);
      benchmark::RegisterBenchmark(
          name.c_str(), [=](benchmark::State& state) { run(state, config, work, precision); })
          ->Iterations(1)
          ->UseManualTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
}

}  // namespace
}  // namespace bertrand::bench

int main(int argc, char** argv) {
  bertrand::bench::add("minilm", bertrand::measure::mini_lm());
  bertrand::bench::add("bert-base", bertrand::measure::bert_base());
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
    return 2;
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
