#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "model/config.h"
#include "model/packing.h"

namespace bertrand::measure {

/// What is measured.
enum class Work { inference, training, training_4, latency_128, latency_384, scaling };

/// All of them, in the order they are shown in.
std::span<const Work> all_work();

/// "inference", "training", "training-4", "latency-128", "latency-384", "scaling".
const char* name_of(Work work);

/// The shapes measured: MiniLM-L6 (6 layers of 384) and BERT-base (12 of 768).
BertConfig mini_lm();
BertConfig bert_base();

/// How many windows, how many tokens in them, and the sum of the squares of their lengths: all that
/// useful work depends on.
struct Lengths {
  double windows = 0;
  double tokens = 0;
  double squares = 0;
};
Lengths lengths_of(std::span<const size_t> windows);

/// SQuAD v1.1's development and training set, uncased, in windows of 384 with a stride of 128.
inline constexpr Lengths kSquadDev = {10833, 1933625, 395990953};
inline constexpr Lengths kSquadTrain = {88641, 15249479, 2985577771};

/// F in GFLOP: 2 W T + 4 L H T^2 over all windows, T a window's tokens, W = L (4 H^2 + 2 H I). Only
/// what a forward pass cannot do without counts; a training step is three times that.
double useful_work(const BertConfig& config, const Lengths& lengths);

/// The precisions a work can be done in on this CPU, fp32 first. Scaling is that of fp32, whose
/// product R is.
std::vector<Precision> precisions(Work work);

/// Windows of these lengths with random words, in batches of at most `tokens` tokens.
std::vector<PackedBatch> random_batches(std::span<const size_t> lengths, size_t tokens,
                                        std::mt19937& random);

/// Fills an engine's parameters: normal, standard deviation 0.02, from a list that repeats.
void load_random_parameters(Engine& engine, std::mt19937& random);

/// One optimizer step: its windows in micro-batches, with answers.
struct TrainingStep {
  std::vector<PackedBatch> batches;
  std::vector<SpanTargets> targets;
  size_t windows = 0;
};

/// Forward, backward with dropout 0.1, clipping and AdamW; `number` makes the dropout of each step
/// another.
void train(Engine& engine, const TrainingStep& step, uint64_t number);

/// A block of work that is timed as one: `lengths` are all its windows.
struct Block {
  std::vector<size_t> lengths;
  size_t step_windows = 0;  ///< windows of a training step, lengths in the order of the steps; 0:
                            ///< inference
};

/// The blocks of a work other than latency, three that are alike; one small one if `quick`.
///
/// inference: every 34th development window, of which each block takes every third. training: four
/// steps of 32 windows a block, from short to long. training-4: the same with steps of 4 windows.
/// scaling: a third of inference's windows.
std::vector<Block> blocks_of(Work work, bool quick);

/// The steps of a block of training.
std::vector<TrainingStep> training_steps(const Block& block, std::mt19937& random);

/// Tokens computed at once, as train and predict have it.
inline constexpr size_t kBatchTokens = 4096;

}  // namespace bertrand::measure
