#include "model/parameters.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "model/initial_parameters.h"

namespace bertrand {
namespace {

BertConfig small_config() {
  BertConfig config;
  config.hidden_size = 64;
  config.num_hidden_layers = 3;
  config.num_attention_heads = 4;
  config.intermediate_size = 256;
  config.vocab_size = 1000;
  config.max_position_embeddings = 128;
  return config;
}

std::vector<float> initial(const BertConfig& config, const ParameterInfo& info, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(info.size()), -7);
  initial_parameters(config, seed)(info, values);
  return values;
}

TEST(BertParameters, CountThoseOfKnownModels) {
  const auto count = [](const BertConfig& config) {
    int64_t all = 0;
    for (const ParameterInfo& info : bert_parameters(config)) {
      all += info.size();
    }
    return all;
  };
  EXPECT_EQ(count(small_config()), 222'530);
  // BERT-base, uncased, without its pooler: 109,482,240 - 768 * 769, and 2 * 769 for the head.
  EXPECT_EQ(count(BertConfig()), 108'893'186);
}

TEST(BertParameters, HaveDistinctNamesAndDecayOnlyMatrices) {
  std::set<std::string> names;
  for (const ParameterInfo& info : bert_parameters(small_config())) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_EQ(info.decays, info.shape.size() == 2) << info.name;
  }
  EXPECT_EQ(names.size(), 5U + 3 * 16 + 2);
}

TEST(InitialParameters, AreNormalForWeightsAndFixedForTheRest) {
  const BertConfig config = small_config();
  for (const ParameterInfo& info : bert_parameters(config)) {
    const std::vector<float> values = initial(config, info, 42);
    if (info.decays) {
      const double n = static_cast<double>(values.size());
      double sum = 0;
      double squares = 0;
      double fourth = 0;
      for (const double value : values) {
        sum += value;
        squares += value * value;
        fourth += value * value * value * value;
      }
      const double variance = squares / n;
      const double kurtosis = fourth / n / (variance * variance);
      // Five standard errors each; 24 / n is the variance of a normal sample's kurtosis.
      EXPECT_NEAR(sum / n, 0, 5 * 0.02 / std::sqrt(n)) << info.name;
      EXPECT_NEAR(std::sqrt(variance), 0.02, 5 * 0.02 / std::sqrt(2 * n)) << info.name;
      EXPECT_NEAR(kurtosis, 3, 5 * std::sqrt(24 / n)) << info.name;
    } else {
      const float expected = info.name.ends_with("LayerNorm.weight") ? 1.0F : 0.0F;
      EXPECT_EQ(std::count(values.begin(), values.end(), expected),
                static_cast<std::ptrdiff_t>(values.size()))
          << info.name;
    }
  }
}

TEST(InitialParameters, DependOnSeedAndNameAlone) {
  const BertConfig config = small_config();
  const ParameterInfo query{"bert.encoder.layer.0.attention.self.query.weight", {5, 7}};
  const ParameterInfo key{"bert.encoder.layer.0.attention.self.key.weight", {5, 7}};
  const ParameterInfo shorter{query.name, {5, 4}};
  const std::vector<float> values = initial(config, query, 1);
  EXPECT_EQ(values, initial(config, query, 1));
  EXPECT_NE(values, initial(config, query, 2));
  EXPECT_NE(values, initial(config, query, uint64_t{1} << 32 | 1));
  EXPECT_NE(values, initial(config, key, 1));
  const std::vector<float> begin = initial(config, shorter, 1);
  EXPECT_TRUE(std::equal(begin.begin(), begin.end(), values.begin()));
}

TEST(InitialParameters, StayTheSameBetweenReleases) {
  const std::vector<float> values = initial(small_config(), {"qa_outputs.weight", {2, 2}}, 7);
  const std::vector<float> expected = {-0.0111890809F, -0.0122088398F, -0.0193368252F,
                                       0.00101814803F};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(values[i], expected[i], 1e-9);
  }
}

}  // namespace
}  // namespace bertrand
