// Windows a second from SQuAD JSON: reading, tokenizing, cutting. Takes SQuAD's training set from
// the shared data (BERTRAND_SHARED, or ../shared) with the uncased vocabulary, else the sample of
// this repository with the embedded model's.
#include <cstdlib>
#include <filesystem>
#include <memory>

#include <benchmark/benchmark.h>

#include "base/thread_pool.h"
#include "squad/dataset.h"
#include "squad/windows.h"
#include "text/tokenizer.h"

namespace bertrand::bench {
namespace {

struct Source {
  std::filesystem::path data, vocabulary;

  Source() {
    const std::filesystem::path root = BERTRAND_SOURCE_DIR;
    const char* set = std::getenv("BERTRAND_SHARED");
    const auto shared = set != nullptr ? std::filesystem::path(set) : root.parent_path() / "shared";
    data = shared / "data/squad/train-v1.1.json";
    vocabulary = shared / "data/vocab/bert-base-uncased-vocab.txt";
    if (!std::filesystem::exists(data)) {
      data = root / "data/sample/train.json";
      vocabulary = root / "models/minilm-l6-squad/vocab.txt";
    }
  }
};

void squad_windows(benchmark::State& state) {
  const Source source;
  TokenizerOptions options;
  options.behaviour = TokenizerOptions::Behaviour::reference;
  const Tokenizer tokenizer(std::make_shared<const Vocabulary>(Vocabulary::load(source.vocabulary)),
                            options);
  WindowOptions windows;
  windows.training = true;
  size_t made = 0;
  for ([[maybe_unused]] auto round : state) {
    const Dataset dataset = Dataset::load(source.data);
    const WindowSet set =
        make_windows(dataset, tokenizer, windows, static_cast<unsigned>(state.range(0)));
    made += set.size();
  }
  state.counters["windows/s"] =
      benchmark::Counter(static_cast<double>(made), benchmark::Counter::kIsRate);
  state.counters["windows"] = static_cast<double>(made) / static_cast<double>(state.iterations());
  state.SetLabel(source.data.filename().string());
}

void thread_counts(benchmark::internal::Benchmark* one) {
  one->Arg(1);
  if (available_threads() > 1) {
    one->Arg(static_cast<int64_t>(available_threads()));
  }
}

BENCHMARK(squad_windows)->Apply(thread_counts)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace bertrand::bench

BENCHMARK_MAIN();
