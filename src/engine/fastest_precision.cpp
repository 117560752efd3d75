#include "engine/fastest_precision.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <limits>

namespace bertrand {
namespace {

constexpr double kWorthIt = 0.9;  // of the first one's time
constexpr int kRounds = 5;
constexpr int kLeastRounds = 2;
constexpr double kSeconds = 0.1;  // after which the least rounds must do
constexpr size_t kWindow = 128;   // tokens; about what windows of SQuAD have
constexpr int64_t kWords = 64;

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// One layer; the rows of embeddings are looked up, so few of them do.
BertConfig one_layer(const BertConfig& config) {
  BertConfig one = config;
  one.num_hidden_layers = 1;
  one.vocab_size = kWords;
  return one;
}

/// Values between -0.02 and 0.02 that differ; how long a product takes does not depend on them.
void fill(const ParameterInfo&, std::span<float> values) {
  constexpr size_t kDifferent = 1021;
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = 0.04F * (static_cast<float>(i % kDifferent) / kDifferent - 0.5F);
  }
}

struct Batch {
  PackedBatch packed;
  SpanTargets targets;
};

Batch batch_of(const BertConfig& config, size_t tokens) {
  const size_t length =
      std::min({kWindow, tokens, static_cast<size_t>(config.max_position_embeddings)});
  std::vector<int32_t> ids(length);
  for (size_t i = 0; i < length; ++i) {
    ids[i] = static_cast<int32_t>(i % kWords);
  }
  Batch batch;
  do {
    batch.packed.add(ids, /*segment_begin=*/length / 2, batch.packed.windows());
    batch.targets.start.push_back(0);
    batch.targets.end.push_back(0);
  } while (batch.packed.tokens() + length <= tokens);
  return batch;
}

void compute(Engine& engine, const Batch& batch, Purpose purpose) {
  if (purpose == Purpose::answers) {
    engine.forward(batch.packed);
    return;
  }
  const Dropout dropout{/*seed=*/1, /*step=*/0, /*hidden=*/0.1, /*attention=*/0.1};
  engine.backward(batch.packed, batch.targets, dropout, /*weight=*/1);
}

}  // namespace

std::string text_of(const PrecisionChoice& choice) {
  std::string text = std::string(name_of(choice.precision)) + " (";
  for (size_t i = 0; i < choice.timed.size(); ++i) {
    char milliseconds[32];
    std::snprintf(milliseconds, sizeof milliseconds, "%.1f", 1e3 * choice.timed[i].seconds);
    text += std::string(i == 0 ? "" : ", ") + name_of(choice.timed[i].precision) + " " +
            milliseconds + " ms";
  }
  return text + (choice.timed.empty() ? "there is no other)" : " a layer)");
}

PrecisionChoice fastest_precision(const BertConfig& config, const PrecisionTrial& trial) {
  PrecisionChoice choice;
  choice.precision = trial.allowed.front();
  if (trial.allowed.size() == 1) {
    return choice;
  }
  const auto now = trial.seconds_now ? trial.seconds_now : steady_seconds;
  const BertConfig layer = one_layer(config);
  const Batch batch = batch_of(layer, trial.tokens);
  std::vector<std::unique_ptr<Engine>> engines;
  for (const Precision precision : trial.allowed) {
    engines.push_back(trial.make_engine(layer, precision));
    engines.back()->load_parameters(fill);
    compute(*engines.back(), batch, trial.purpose);  // memory is taken, code made
    choice.timed.push_back({precision, std::numeric_limits<double>::infinity()});
  }
  const double begin = now();
  for (int round = 0; round < kRounds; ++round) {
    if (round >= kLeastRounds && now() - begin > kSeconds) {
      break;
    }
    for (size_t i = 0; i < engines.size(); ++i) {
      const double before = now();
      compute(*engines[i], batch, trial.purpose);
      choice.timed[i].seconds = std::min(choice.timed[i].seconds, now() - before);
    }
  }
  const auto faster = [](const auto& a, const auto& b) { return a.seconds < b.seconds; };
  const auto best = *std::min_element(choice.timed.begin(), choice.timed.end(), faster);
  if (best.seconds <= kWorthIt * choice.timed.front().seconds) {
    choice.precision = best.precision;
  }
  return choice;
}

}  // namespace bertrand
