#include "measure/work.h"

#include <algorithm>
#include <array>
#include <span>

#include "engine/cpu/cpu_engine.h"
#include "measure/squad_lengths.h"

namespace bertrand::measure {
namespace {

constexpr std::array kAll = {Work::inference,   Work::training,    Work::training_4,
                             Work::latency_128, Work::latency_384, Work::scaling};
constexpr size_t kBlocks = 3;

/// Every so many windows, of all lengths.
Block inference_block(size_t block, size_t stride) {
  Block made;
  for (size_t i = block; i < std::size(kInferenceLengths); i += stride) {
    made.lengths.push_back(kInferenceLengths[i]);
  }
  return made;
}

Block training_block(size_t block, size_t step_windows, bool quick) {
  constexpr size_t kBatches = std::size(kTrainingLengths) / kTrainingBatch;
  const std::span<const size_t> lengths = kTrainingLengths;
  Block made{.lengths = {}, .step_windows = quick ? 2 : step_windows};
  for (size_t batch = block; batch < kBatches; batch += quick ? kBatches / 2 : kBlocks) {
    const auto step = lengths.subspan(batch * kTrainingBatch, made.step_windows);
    made.lengths.insert(made.lengths.end(), step.begin(), step.end());
  }
  return made;
}

}  // namespace

std::span<const Work> all_work() { return kAll; }

const char* name_of(Work work) {
  switch (work) {
    case Work::inference:
      return "inference";
    case Work::training:
      return "training";
    case Work::training_4:
      return "training-4";
    case Work::latency_128:
      return "latency-128";
    case Work::latency_384:
      return "latency-384";
    case Work::scaling:
      return "scaling";
  }
  return "";
}

BertConfig bert_base() { return {}; }

BertConfig mini_lm() {
  BertConfig config;
  config.hidden_size = 384;
  config.num_hidden_layers = 6;
  config.intermediate_size = 1536;
  return config;
}

Lengths lengths_of(std::span<const size_t> windows) {
  Lengths all;
  for (const size_t length : windows) {
    const auto tokens = static_cast<double>(length);
    all.windows += 1;
    all.tokens += tokens;
    all.squares += tokens * tokens;
  }
  return all;
}

double useful_work(const BertConfig& config, const Lengths& lengths) {
  const auto layers = static_cast<double>(config.num_hidden_layers);
  const auto hidden = static_cast<double>(config.hidden_size);
  const auto wide = static_cast<double>(config.intermediate_size);
  const double weights = layers * (4 * hidden * hidden + 2 * hidden * wide);
  return 1e-9 * (2 * weights * lengths.tokens + 4 * layers * hidden * lengths.squares);
}

std::vector<Precision> precisions(Work work) {
  std::vector<Precision> all = {Precision::fp32};
  if (work == Work::scaling) {
    return all;
  }
  if (cpu_multiplies_bf16()) {
    all.push_back(Precision::bf16);
  }
  if (work != Work::training && work != Work::training_4) {
    all.push_back(Precision::int8);
  }
  return all;
}

std::vector<PackedBatch> random_batches(std::span<const size_t> lengths, size_t tokens,
                                        std::mt19937& random) {
  constexpr size_t kQuestion = 12;
  constexpr uint32_t kWords = 30000;
  std::vector<PackedBatch> batches;
  for (const size_t length : lengths) {
    if (batches.empty() || batches.back().tokens() + length > tokens) {
      batches.emplace_back();
    }
    std::vector<int32_t> ids(length);
    for (int32_t& id : ids) {
      id = static_cast<int32_t>(random() % kWords);
    }
    PackedBatch& batch = batches.back();
    batch.add(ids, std::min(kQuestion, length), batch.windows());
  }
  return batches;
}

void load_random_parameters(Engine& engine, std::mt19937& random) {
  std::normal_distribution<float> normal(0, 0.02F);
  // So many that rows of any weight differ; to draw each of a hundred million takes seconds.
  std::vector<float> drawn(65521);
  std::generate(drawn.begin(), drawn.end(), [&] { return normal(random); });
  size_t next = 0;
  engine.load_parameters([&](const ParameterInfo&, std::span<float> values) {
    for (float& value : values) {
      value = drawn[next];
      next = next + 1 == drawn.size() ? 0 : next + 1;
    }
  });
}

void train(Engine& engine, const TrainingStep& step, uint64_t number) {
  const Dropout dropout{/*seed=*/1, number, /*hidden=*/0.1, /*attention=*/0.1};
  for (size_t i = 0; i < step.batches.size(); ++i) {
    engine.backward(step.batches[i], step.targets[i], dropout,
                    1.0 / static_cast<double>(step.windows));
  }
  engine.step(/*learning_rate=*/1e-6, OptimizerSettings());
}

std::vector<Block> blocks_of(Work work, bool quick) {
  std::vector<Block> blocks;
  for (size_t block = 0; block < (quick ? 1 : kBlocks); ++block) {
    if (work == Work::inference || work == Work::scaling) {
      constexpr size_t kQuick = 40;
      const size_t stride = work == Work::scaling ? kBlocks * kBlocks : kBlocks;
      blocks.push_back(inference_block(block, quick ? kQuick : stride));
    } else {
      constexpr size_t kFew = 4;
      blocks.push_back(
          training_block(block, work == Work::training_4 ? kFew : kTrainingBatch, quick));
    }
  }
  return blocks;
}

std::vector<TrainingStep> training_steps(const Block& block, std::mt19937& random) {
  const std::span<const size_t> lengths = block.lengths;
  std::vector<TrainingStep> steps;
  for (size_t first = 0; first < lengths.size(); first += block.step_windows) {
    const auto of_step = lengths.subspan(first, block.step_windows);
    // Pieces of like size, each within the limit, as the trainer cuts a batch.
    const auto all = static_cast<size_t>(lengths_of(of_step).tokens);
    const size_t pieces = (all + kBatchTokens - 1) / kBatchTokens;
    const size_t windows = (of_step.size() + pieces - 1) / pieces;
    TrainingStep& step = steps.emplace_back();
    step.windows = of_step.size();
    for (size_t begin = 0; begin < of_step.size(); begin += windows) {
      const auto piece = of_step.subspan(begin, std::min(windows, of_step.size() - begin));
      for (PackedBatch& batch : random_batches(piece, all, random)) {
        step.targets.push_back(
            {std::vector<int32_t>(batch.windows(), 20), std::vector<int32_t>(batch.windows(), 22)});
        step.batches.push_back(std::move(batch));
      }
    }
  }
  return steps;
}

}  // namespace bertrand::measure
