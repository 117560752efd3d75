// An engine whose parameters are read from where they are stored, in parts and partly later, is to
// the bit the one that loaded them whole.
#include "engine/cpu/stored_parameters.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/cpu/cpu_engine.h"
#include "oracle.h"

namespace bertrand::test {
namespace {

/// Parameters in memory; matrices with many rows as 8-bit numbers where that is asked for.
class Store {
 public:
  Store(const BertConfig& config, bool with_int8) {
    uint32_t seed = 0;
    for (const ParameterInfo& info : bert_parameters(config)) {
      const auto size = static_cast<size_t>(info.size());
      Parameter& parameter = parameters_[info.name];
      parameter.values = random_floats(size, ++seed, 0.3F);
      if (with_int8 && info.shape.size() == 2 && info.shape[0] > 2) {
        round(parameter, static_cast<size_t>(info.shape[0]), static_cast<size_t>(info.shape[1]));
      }
    }
  }

  ParameterReader reader() const { return read_whole(store()); }
  ParameterStore store() const {
    return [this](const ParameterInfo& info) {
      const Parameter& parameter = parameters_.at(info.name);
      StoredParameter stored;
      stored.int8 = parameter.int8;
      stored.scales = parameter.scales;
      stored.read = [&parameter](size_t first, std::span<float> values) {
        parameter.reads += values.size();
        std::copy_n(parameter.values.begin() + static_cast<std::ptrdiff_t>(first), values.size(),
                    values.begin());
      };
      return stored;
    };
  }

  std::vector<float>& values(const std::string& name) { return parameters_.at(name).values; }
  size_t values_read(const std::string& name) const { return parameters_.at(name).reads; }

 private:
  struct Parameter {
    std::vector<float> values;
    std::vector<int8_t> int8;
    std::vector<float> scales;
    mutable std::atomic<size_t> reads = 0;
  };

  static void round(Parameter& parameter, size_t rows, size_t columns) {
    for (size_t row = 0; row < rows; ++row) {
      float* values = parameter.values.data() + row * columns;
      float most = 0;
      for (size_t i = 0; i < columns; ++i) most = std::max(most, std::fabs(values[i]));
      const float scale = most / 127;
      parameter.scales.push_back(scale);
      for (size_t i = 0; i < columns; ++i) {
        parameter.int8.push_back(static_cast<int8_t>(std::lround(values[i] / scale)));
        values[i] = static_cast<float>(parameter.int8.back()) * scale;
      }
    }
  }

  std::map<std::string, Parameter> parameters_;
};

const std::string word_embeddings = "bert.embeddings.word_embeddings.weight";

/// Neither size is a multiple of a panel's columns unless `even`.
BertConfig config_of(bool even) {
  BertConfig config;
  config.hidden_size = even ? 64 : 44;
  config.num_attention_heads = 4;
  config.num_hidden_layers = 2;
  config.intermediate_size = even ? 256 : 133;
  config.vocab_size = 50;
  config.max_position_embeddings = 64;
  return config;
}

PackedBatch batch_of(std::initializer_list<int32_t> words) {
  PackedBatch batch;
  batch.add(std::vector<int32_t>(words), /*segment_begin=*/2, /*key=*/0);
  return batch;
}

std::vector<std::vector<float>> parameters_of(const Engine& engine) {
  std::vector<std::vector<float>> all;
  engine.store_parameters([&](const ParameterInfo&, std::span<const float> values) {
    all.emplace_back(values.begin(), values.end());
  });
  return all;
}

struct Case {
  Precision precision;
  bool even, int8_store;
};

class OpenedEngine : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (GetParam().precision == Precision::bf16 && !cpu_multiplies_bf16()) {
      GTEST_SKIP() << "this CPU has no bf16 instructions";
    }
  }
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const Precision precision : {Precision::fp32, Precision::bf16, Precision::int8}) {
    for (const bool even : {false, true}) {
      for (const bool int8_store : {false, true}) {
        cases.push_back({precision, even, int8_store});
      }
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, OpenedEngine, testing::ValuesIn(all_cases()), [](const auto& it) {
  return std::string(name_of(it.param.precision)) + (it.param.even ? "_even" : "_odd") +
         (it.param.int8_store ? "_from_int8" : "_from_f32");
});

TEST_P(OpenedEngine, AnswersAsTheOneThatLoaded) {
  const BertConfig config = config_of(GetParam().even);
  const Store store(config, GetParam().int8_store);
  const auto loaded = make_cpu_engine(config, {/*threads=*/1, GetParam().precision});
  const auto opened = make_cpu_engine(config, {/*threads=*/3, GetParam().precision});
  loaded->load_parameters(store.reader());
  opened->open_parameters(store.store());
  EXPECT_EQ(parameters_of(*opened), parameters_of(*loaded));
  for (const PackedBatch& batch : {batch_of({1, 7, 7, 49, 0}), batch_of({3, 1, 48})}) {
    EXPECT_EQ(opened->forward(batch).start, loaded->forward(batch).start);
    EXPECT_EQ(opened->forward(batch).end, loaded->forward(batch).end);
    EXPECT_EQ(opened->hidden_states(batch), loaded->hidden_states(batch));
  }
}

TEST_P(OpenedEngine, TrainsAsTheOneThatLoaded) {
  const BertConfig config = config_of(GetParam().even);
  const Store store(config, GetParam().int8_store);
  const auto loaded = make_cpu_engine(config, {/*threads=*/2, GetParam().precision});
  const auto opened = make_cpu_engine(config, {/*threads=*/2, GetParam().precision});
  loaded->load_parameters(store.reader());
  opened->open_parameters(store.store());
  opened->forward(batch_of({1, 7}));  // some words are there, the others not yet
  const PackedBatch batch = batch_of({1, 9, 30, 2});
  const SpanTargets targets = {{1}, {2}};
  if (GetParam().precision == Precision::int8) {
    EXPECT_THROW(opened->backward(batch, targets, Dropout(), 1), Error);
    return;
  }
  for (int step = 0; step < 2; ++step) {
    EXPECT_EQ(opened->backward(batch, targets, Dropout(), 1),
              loaded->backward(batch, targets, Dropout(), 1));
    opened->step(1e-3, OptimizerSettings());
    loaded->step(1e-3, OptimizerSettings());
  }
  EXPECT_EQ(parameters_of(*opened), parameters_of(*loaded));
  EXPECT_EQ(opened->forward(batch_of({1, 40})).end, loaded->forward(batch_of({1, 40})).end);
}

TEST_P(OpenedEngine, TakesOtherParametersLater) {
  const BertConfig config = config_of(GetParam().even);
  const Store first(config, GetParam().int8_store);
  Store second(config, !GetParam().int8_store);
  for (float& value : second.values(word_embeddings)) value += 0.5F;
  const PackedBatch batch = batch_of({1, 7, 7, 49, 0});
  const auto engine = make_cpu_engine(config, {/*threads=*/2, GetParam().precision});
  engine->open_parameters(first.store());
  const std::vector<float> logits = engine->forward(batch).start;
  engine->open_parameters(second.store());
  const std::vector<float> others = engine->forward(batch).start;
  EXPECT_NE(others, logits);
  engine->load_parameters(first.reader());
  EXPECT_EQ(engine->forward(batch).start, logits);
  engine->open_parameters(second.store());
  EXPECT_EQ(engine->forward(batch).start, others);
}

TEST(StoredParameters, ReadsAWordWhenItIsFirstNeeded) {
  const BertConfig config = config_of(/*even=*/true);
  const Store store(config, /*with_int8=*/false);
  const auto engine = make_cpu_engine(config, {/*threads=*/2, Precision::fp32});
  engine->open_parameters(store.store());
  EXPECT_EQ(store.values_read(word_embeddings), 0U);
  engine->forward(batch_of({1, 7, 7, 49, 0}));
  EXPECT_EQ(store.values_read(word_embeddings), 4U * 64);
  engine->forward(batch_of({7, 8, 0}));
  EXPECT_EQ(store.values_read(word_embeddings), 5U * 64);
  EXPECT_EQ(store.values_read("bert.encoder.layer.1.output.dense.weight"), 64U * 256);
}

TEST(StoredParameters, AnEngineWithNoUseForThemLoadsThemWhole) {
  const BertConfig config = config_of(/*even=*/false);
  const Store store(config, /*with_int8=*/true);
  const auto engine = make_cpu_engine(config, {/*threads=*/1, Precision::fp32});
  const auto loaded = make_cpu_engine(config, {/*threads=*/1, Precision::fp32});
  engine->Engine::open_parameters(store.store());
  EXPECT_EQ(store.values_read(word_embeddings), 50U * 44);
  loaded->load_parameters(store.reader());
  EXPECT_EQ(parameters_of(*engine), parameters_of(*loaded));
}

TEST(StoredParameters, Int8DoesNotMakeFloatsOfNumbers) {
  const BertConfig config = config_of(/*even=*/true);
  const Store store(config, /*with_int8=*/true);
  const auto engine = make_cpu_engine(config, {/*threads=*/2, Precision::int8});
  engine->open_parameters(store.store());
  EXPECT_EQ(store.values_read("bert.encoder.layer.1.output.dense.weight"), 0U);
}

TEST(StoredParameters, BrokenNumbersShowInTheLogits) {
  const BertConfig config = config_of(/*even=*/true);
  for (const Precision precision : {Precision::fp32, Precision::int8}) {
    for (const std::string& name :
         {word_embeddings, std::string("bert.encoder.layer.1.output.dense.weight")}) {
      Store store(config, /*with_int8=*/false);
      store.values(name)[7 * 64] = std::numeric_limits<float>::quiet_NaN();
      const auto engine = make_cpu_engine(config, {/*threads=*/2, precision});
      engine->open_parameters(store.store());
      EXPECT_FALSE(std::isfinite(engine->forward(batch_of({1, 7, 2})).start[1])) << name;
    }
  }
}

TEST(StoredParameters, RefusesWordsOutsideTheModel) {
  const BertConfig config = config_of(/*even=*/true);
  const Store store(config, /*with_int8=*/false);
  const auto engine = make_cpu_engine(config, {/*threads=*/2, Precision::fp32});
  engine->open_parameters(store.store());
  EXPECT_THROW(engine->forward(batch_of({1, 50})), Error);
  EXPECT_THROW(engine->forward(batch_of({1, -1})), Error);
}

TEST(StoredParameters, StripsCoverEachRowOnce) {
  const std::vector<ParameterInfo> infos = bert_parameters(config_of(/*even=*/false));
  std::set<std::pair<size_t, size_t>> seen;
  for (const cpu::ParameterStrip& strip : cpu::cut_into_strips(infos, /*rows=*/32)) {
    EXPECT_LE(strip.rows, 32U);
    for (size_t row = 0; row < strip.rows; ++row) {
      EXPECT_TRUE(seen.emplace(strip.parameter, strip.first_row + row).second);
    }
  }
  size_t expected = 0;
  for (const ParameterInfo& info : infos) {
    expected += info.shape.size() == 2 ? static_cast<size_t>(info.shape[0]) : 1;
  }
  EXPECT_EQ(seen.size(), expected);
}

}  // namespace
}  // namespace bertrand::test
