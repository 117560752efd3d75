#include "engine/fastest_precision.h"

#include <map>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace bertrand {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// What the engines of a test were asked for, on a clock that only they move.
struct Told {
  double now = 0;
  std::map<Precision, double> forward = {{Precision::fp32, 1}};   ///< seconds each takes
  std::map<Precision, double> backward = {{Precision::fp32, 1}};  ///< the same
  std::vector<BertConfig> configs;
  std::vector<size_t> tokens;  ///< of each batch
  int forwards = 0;
  int backwards = 0;
};

class ClockedEngine final : public Engine {
 public:
  ClockedEngine(const BertConfig& config, Precision precision, Told& told)
      : config_(config), infos_(bert_parameters(config)), precision_(precision), told_(told) {
    told.configs.push_back(config);
  }
  const BertConfig& config() const override { return config_; }
  const std::vector<ParameterInfo>& parameters() const override { return infos_; }
  void load_parameters(const ParameterReader& read) override {
    for (const ParameterInfo& info : infos_) {
      std::vector<float> values(static_cast<size_t>(info.size()));
      read(info, values);
    }
  }
  void store_parameters(const ParameterWriter&) const override {}
  SpanLogits forward(const PackedBatch& batch) override {
    told_.tokens.push_back(batch.tokens());
    ++told_.forwards;
    told_.now += told_.forward.at(precision_);
    return {};
  }
  double backward(const PackedBatch& batch, const SpanTargets& targets, const Dropout&,
                  double) override {
    EXPECT_EQ(targets.start.size(), batch.windows());
    EXPECT_EQ(targets.end.size(), batch.windows());
    told_.tokens.push_back(batch.tokens());
    ++told_.backwards;
    told_.now += told_.backward.at(precision_);
    return 0;
  }
  void reduce_gradients(ProcessGroup&) override {}
  void store_gradients(const ParameterWriter&) const override {}
  StepReport step(double, const OptimizerSettings&) override { return {}; }
  uint64_t steps() const override { return 0; }
  void store_moments(Moment, const ParameterWriter&) const override {}
  void load_moments(Moment, const ParameterReader&, uint64_t) override {}

 private:
  BertConfig config_;
  std::vector<ParameterInfo> infos_;
  Precision precision_;
  Told& told_;
};

BertConfig small() {
  BertConfig config;
  config.hidden_size = 8;
  config.num_attention_heads = 2;
  config.intermediate_size = 16;
  return config;
}

PrecisionChoice chosen(Told& told, const std::vector<Precision>& allowed,
                       Purpose purpose = Purpose::answers, size_t tokens = 512) {
  PrecisionTrial trial;
  trial.allowed = allowed;
  trial.tokens = tokens;
  trial.purpose = purpose;
  trial.make_engine = [&](const BertConfig& config, Precision precision) {
    return std::make_unique<ClockedEngine>(config, precision, told);
  };
  trial.seconds_now = [&] { return told.now; };
  return fastest_precision(small(), trial);
}

TEST(FastestPrecision, IsTheOneThatTakesLeast) {
  Told told;
  told.forward = {{Precision::fp32, 3}, {Precision::bf16, 2}, {Precision::int8, 1}};
  const PrecisionChoice choice = chosen(told, {Precision::fp32, Precision::bf16, Precision::int8});
  EXPECT_EQ(choice.precision, Precision::int8);
  ASSERT_EQ(choice.timed.size(), 3U);
  EXPECT_EQ(choice.timed[1].precision, Precision::bf16);
  EXPECT_EQ(choice.timed[1].seconds, 2);
  told.forward[Precision::bf16] = 4;
  EXPECT_EQ(chosen(told, {Precision::fp32, Precision::bf16}).precision, Precision::fp32);
}

TEST(FastestPrecision, StaysWithTheFirstUnlessAnotherIsATenthFaster) {
  Told told;
  told.forward = {{Precision::fp32, 1}, {Precision::bf16, 0.92}};
  EXPECT_EQ(chosen(told, {Precision::fp32, Precision::bf16}).precision, Precision::fp32);
  told.forward[Precision::bf16] = 0.88;
  EXPECT_EQ(chosen(told, {Precision::fp32, Precision::bf16}).precision, Precision::bf16);
}

TEST(FastestPrecision, TimesWhatTheEngineIsFor) {
  Told told;
  told.forward = {{Precision::fp32, 1}, {Precision::bf16, 2}};
  told.backward = {{Precision::fp32, 2}, {Precision::bf16, 1}};
  EXPECT_EQ(chosen(told, {Precision::fp32, Precision::bf16}).precision, Precision::fp32);
  EXPECT_EQ(told.backwards, 0);
  told.forwards = 0;
  EXPECT_EQ(chosen(told, {Precision::fp32, Precision::bf16}, Purpose::training).precision,
            Precision::bf16);
  EXPECT_EQ(told.forwards, 0);
}

TEST(FastestPrecision, WorksLittleAndOnOneLayer) {
  Told told;
  told.forward = {{Precision::fp32, 0.001}, {Precision::bf16, 0.001}};
  chosen(told, {Precision::fp32, Precision::bf16});
  EXPECT_EQ(told.forwards, 2 * 6);  // the first of each is not timed
  EXPECT_EQ(told.configs[0].num_hidden_layers, 1);
  EXPECT_EQ(told.configs[0].hidden_size, small().hidden_size);
  Told slow;
  slow.forward = {{Precision::fp32, 1}, {Precision::bf16, 1}};
  chosen(slow, {Precision::fp32, Precision::bf16});
  EXPECT_EQ(slow.forwards, 2 * 3);
}

TEST(FastestPrecision, ComputesNoMoreTokensThanItMay) {
  Told told;
  told.forward[Precision::bf16] = 1;
  for (const size_t tokens : {512U, 192U, 20U}) {
    told.tokens.clear();
    chosen(told, {Precision::fp32, Precision::bf16}, Purpose::answers, tokens);
    for (const size_t batch : told.tokens) {
      EXPECT_LE(batch, tokens);
      EXPECT_GT(batch, tokens / 2);
    }
  }
}

TEST(FastestPrecision, IsNotMeasuredWhereThereIsNoChoice) {
  Told told;
  const PrecisionChoice choice = chosen(told, {Precision::fp32});
  EXPECT_EQ(choice.precision, Precision::fp32);
  EXPECT_TRUE(told.configs.empty());
  EXPECT_EQ(text_of(choice), "fp32 (there is no other)");
}

TEST(FastestPrecision, SaysWhatItIsFoundedOn) {
  PrecisionChoice choice;
  choice.precision = Precision::bf16;
  choice.timed = {{Precision::fp32, 0.0081}, {Precision::bf16, 0.00428}};
  EXPECT_EQ(text_of(choice), "bf16 (fp32 8.1 ms, bf16 4.3 ms a layer)");
}

TEST(PrecisionNames, GoBothWays) {
  std::vector<std::string> names;
  for (const Precision precision : {Precision::automatic, Precision::fp32, Precision::bf16,
                                    Precision::int8, Precision::tf32, Precision::fp16}) {
    names.emplace_back(name_of(precision));
    EXPECT_EQ(parse_precision(names.back()), precision);
  }
  EXPECT_THAT(names, ElementsAre("auto", "fp32", "bf16", "int8", "tf32", "fp16"));
  try {
    parse_precision("fp8");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_THAT(error.what(), HasSubstr("auto, fp32, tf32, bf16, fp16 or int8"));
  }
}

}  // namespace
}  // namespace bertrand
