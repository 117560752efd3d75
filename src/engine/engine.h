#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "distributed/process_group.h"
#include "model/config.h"
#include "model/packing.h"
#include "model/parameters.h"

namespace bertrand {

/// What the matrix products are computed in; sums, weights and everything else stay f32. tf32 (f32
/// whose products keep 10 bits of each factor) and fp16 are for devices; int8 only computes answers
/// on the CPU. No engine computes in `automatic`: it stands for what fastest_precision chooses.
enum class Precision { fp32, bf16, int8, automatic, tf32, fp16 };

/// "fp32", "bf16", "int8", "auto", "tf32", "fp16".
const char* name_of(Precision precision);

/// The other way; throws Error (usage) naming what is allowed.
Precision parse_precision(const std::string& name);

/// Dropout of one training step. Masks depend on seed, step, window key and place alone.
struct Dropout {
  uint64_t seed = 0;
  uint64_t step = 0;
  double hidden = 0;     ///< probability for embeddings and hidden states
  double attention = 0;  ///< probability for attention probabilities
};

enum class OptimizerKind {
  adamw,      ///< with bias correction; Loshchilov, Hutter, arXiv:1711.05101
  bert_adam,  ///< without bias correction, as in Google's BERT
};

enum class GradientClip { none, global, per_parameter };

/// How gradients become a step.
struct OptimizerSettings {
  OptimizerKind kind = OptimizerKind::adamw;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;  ///< of parameters with ParameterInfo::decays
  GradientClip clip = GradientClip::global;
  double max_gradient_norm = 1.0;  ///< scale by min(1, max / (norm + 1e-6))
};

/// What a step saw.
struct StepReport {
  double gradient_norm =
      0;  ///< of all parameters together, before clipping; not finite: no step was made
  bool repeat = false;  ///< it was too large for fp16: the loss is scaled by less from now on, and
                        ///< the same step is to be computed again
};

/// What fp16 multiplies losses by, so that small gradients do not vanish: it doubles after some
/// steps that went well, and halves where a gradient grew too large.
struct LossScaling {
  double scale = 65536;
  uint64_t good_steps = 0;  ///< since it was changed
};

/// The two moments Adam keeps of every parameter.
enum class Moment { first, second };

/// BERT with a span head on some device: knows weights, gradients and optimizer state, and nothing
/// of text or files. Methods throw Error (runtime).
class Engine {
 public:
  virtual ~Engine() = default;

  virtual const BertConfig& config() const = 0;

  /// The parameters in the order of bert_parameters(config()).
  virtual const std::vector<ParameterInfo>& parameters() const = 0;
  virtual void load_parameters(const ParameterReader& read) = 0;
  /// The same values from where they are stored, which must not change as long as this engine is
  /// used: it may read them in parts and some of them, such as the embeddings of a word, only when
  /// they are first needed.
  virtual void open_parameters(const ParameterStore& stored) {
    load_parameters(read_whole(stored));
  }
  virtual void store_parameters(const ParameterWriter& write) const = 0;

  /// Scores of every token, without dropout.
  virtual SpanLogits forward(const PackedBatch& batch) = 0;

  /// Adds the gradients of `weight` times the batch's loss to those kept since the last step, and
  /// returns that loss without the weight: the sum over windows of (start + end cross-entropy) / 2,
  /// each a softmax over the window's own tokens. With weight 1 / (windows of the whole batch),
  /// micro-batches add up to the mean.
  virtual double backward(const PackedBatch& batch, const SpanTargets& targets,
                          const Dropout& dropout, double weight) = 0;

  /// Adds up the gradients of all processes, so that each has those of the batches of all; called
  /// once a step, between the last backward and step. The same bits in every process.
  virtual void reduce_gradients(ProcessGroup& group) = 0;

  /// Reads the gradients summed since the last step; to exchange and to test them.
  virtual void store_gradients(const ParameterWriter& write) const = 0;

  /// One optimizer step at this learning rate, then gradients are zero again. A gradient that is
  /// not finite leaves weights and moments as they were, and is reported.
  virtual StepReport step(double learning_rate, const OptimizerSettings& settings) = 0;

  /// Steps made, and the moments; enough, with the weights, to go on bit for bit.
  virtual uint64_t steps() const = 0;
  virtual void store_moments(Moment moment, const ParameterWriter& write) const = 0;
  virtual void load_moments(Moment moment, const ParameterReader& read, uint64_t steps) = 0;

  /// Part of the same state, where losses are scaled (Precision::fp16); else empty, and setting it
  /// does nothing.
  virtual std::optional<LossScaling> loss_scaling() const { return std::nullopt; }
  virtual void set_loss_scaling(const LossScaling&) {}

  /// Counts a step that was not made, because the numbers of fp16 grew too large in it; only where
  /// losses are scaled.
  virtual void skip_step() {}
};

/// An Engine that also shows what is between embeddings and scores.
class EngineWithStates : public Engine {
 public:
  /// The embeddings' output, then each layer's: [layers + 1][T * hidden_size].
  virtual std::vector<std::vector<float>> hidden_states(const PackedBatch& batch) = 0;
};

/// Throws Error (runtime) where a window is longer than the model's positions or empty, or where a
/// token or segment has no embedding.
void check_batch(const PackedBatch& batch, const BertConfig& config);

/// Throws Error (runtime) where an answer lies outside its window.
void check_targets(const PackedBatch& batch, const SpanTargets& targets);

}  // namespace bertrand
