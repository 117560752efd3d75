// Work of a fixed size, for counting its instructions: work PART ROUNDS. Between one round and two
// lies the work alone, without what it needs to begin; see count.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "engine/cpu/cpu_engine.h"
#include "places.h"
#include "predict/predictor.h"
#include "squad/answers.h"
#include "squad/dataset.h"
#include "squad/windows.h"
#include "text/tokenizer.h"

namespace bertrand {
namespace {

int rounds = 1;

void measured(const std::function<void()>& work) {
  for (int round = 0; round < rounds; ++round) {
    work();
  }
}

const std::string root = bertrand::test::kSourceFolder;

Tokenizer make_tokenizer() {
  return Tokenizer(std::make_shared<const Vocabulary>(
                       Vocabulary::load(root + "/models/minilm-l6-squad/vocab.txt")),
                   TokenizerOptions());
}

void count_tokenizer() {
  const Tokenizer tokenizer = make_tokenizer();
  const Dataset dataset = Dataset::load(root + "/data/sample/train.json");
  std::vector<Token> tokens;
  measured([&] {
    for (int time = 0; time < 50; ++time) {
      for (const Example& example : dataset.examples) {
        tokens.clear();
        tokenizer.tokenize(example.question, tokens);
      }
    }
  });
}

void count_windows() {
  const Tokenizer tokenizer = make_tokenizer();
  measured([&] {
    for (int time = 0; time < 10; ++time) {
      const Dataset dataset = Dataset::load(root + "/data/sample/train.json");
      WindowOptions options;
      options.training = true;
      make_windows(dataset, tokenizer, options, /*threads=*/1);
    }
  });
}

/// Logits of any value give many candidates.
void count_answers() {
  const Tokenizer tokenizer = make_tokenizer();
  const Dataset dataset = Dataset::load(root + "/data/sample/dev.json");
  const WindowSet windows = make_windows(dataset, tokenizer, WindowOptions(), /*threads=*/1);
  std::mt19937 random(1);
  std::vector<std::vector<float>> logits;
  for (size_t i = 0; i < 2 * windows.size(); ++i) {
    std::vector<float>& values = logits.emplace_back(windows[i / 2].ids.size());
    for (float& value : values) {
      value = static_cast<float>(random() % 1000) / 100;
    }
  }
  measured([&] {
    for (size_t i = 0; i < windows.size(); ++i) {
      const std::vector<WindowLogits> one = {{windows[i], logits[2 * i], logits[2 * i + 1]}};
      answer_question(dataset, dataset.examples[windows[i].example], one, tokenizer,
                      AnswerOptions());
    }
  });
}

/// A model of two layers over windows of several lengths.
struct Small {
  BertConfig config;
  PackedBatch batch;
  SpanTargets targets;

  Small() {
    config.hidden_size = 128;
    config.num_hidden_layers = 2;
    config.num_attention_heads = 4;
    config.intermediate_size = 512;
    config.vocab_size = 100;
    for (const size_t length : {128U, 61U, 33U}) {
      batch.add(std::vector<int32_t>(length, 7), /*segment_begin=*/10, batch.windows());
      targets.start.push_back(12);
      targets.end.push_back(14);
    }
  }

  std::unique_ptr<Engine> engine(Precision precision) const {
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0, 0.02F);
    auto engine = make_cpu_engine(config, {/*threads=*/1, precision});
    engine->load_parameters([&](const ParameterInfo&, std::span<float> values) {
      for (float& value : values) {
        value = normal(random);
      }
    });
    return engine;
  }
};

void count_forward(Precision precision) {
  const Small small;
  const auto engine = small.engine(precision);
  engine->forward(small.batch);
  measured([&] { engine->forward(small.batch); });
}

void count_training() {
  const Small small;
  const auto engine = small.engine(Precision::fp32);
  const Dropout dropout{/*seed=*/1, /*step=*/0, /*hidden=*/0.1, /*attention=*/0.1};
  const auto step = [&] {
    engine->backward(small.batch, small.targets, dropout, 1.0 / 3);
    engine->step(1e-5, OptimizerSettings());
  };
  step();
  measured(step);
}

const std::map<std::string, void (*)()> parts = {
    {"answers", count_answers},
    {"forward", [] { count_forward(Precision::fp32); }},
    {"forward-int8", [] { count_forward(Precision::int8); }},
    {"tokenizer", count_tokenizer},
    {"training", count_training},
    {"windows", count_windows},
};

}  // namespace
}  // namespace bertrand

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--compiler") {
    std::printf("GCC %d.%d\n", __GNUC__, __GNUC_MINOR__);
    return 0;
  }
  const auto part = argc == 3 ? bertrand::parts.find(argv[1]) : bertrand::parts.end();
  if (part == bertrand::parts.end()) {
    for (const auto& [name, count] : bertrand::parts) {
      std::puts(name.c_str());
    }
    return argc == 1 ? 0 : 2;
  }
  bertrand::rounds = std::atoi(argv[2]);
  part->second();
  return 0;
}
