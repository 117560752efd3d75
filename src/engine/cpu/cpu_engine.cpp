#include "engine/cpu/cpu_engine.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "engine/cpu/bf16.h"
#include "engine/cpu/buffers.h"
#include "engine/cpu/gradient_sum.h"
#include "engine/cpu/int8.h"
#include "engine/cpu/layout.h"
#include "engine/cpu/network.h"
#include "engine/cpu/optimizer.h"
#include "engine/cpu/packed.h"
#include "engine/cpu/products.h"
#include "engine/cpu/row_gradients.h"
#include "engine/cpu/stored_parameters.h"

namespace bertrand {
namespace {

using cpu::Aligned;
using cpu::Layout;
using cpu::Network;
using cpu::Optimizer;

class CpuEngine final : public CpuEngineWithStates {
 public:
  CpuEngine(const BertConfig& config, const CpuOptions& options)
      : config_(config),
        layout_(config_, panel_width_of(options)),
        trains_(options.precision != Precision::int8),
        pool_(options.threads),
        stored_(layout_, pool_),
        network_(config_, layout_, options.precision, pool_),
        gradients_(layout_.word_width()) {
    parameters_.reserve_zeroed(layout_.size);
  }

  const BertConfig& config() const override { return config_; }
  const std::vector<ParameterInfo>& parameters() const override { return layout_.parameters; }

  void load_parameters(const ParameterReader& read) override {
    stored_.close();
    read_into(parameters_.data(), read);
    network_.parameters_changed();
  }
  void open_parameters(const ParameterStore& stored) override {
    // Without training, weights in 8 bits are made of what is stored: there need be no others.
    stored_.open(stored, /*with_weights=*/trains_, parameters_.data());
    network_.parameters_changed();
    if (!trains_) {
      network_.round_stored_weights(stored_.parameters());
    }
  }
  void store_parameters(const ParameterWriter& write) const override {
    if (stored_.is_open()) {
      write_stored(write);
    } else {
      write_from(parameters_.data(), write);
    }
  }

  SpanLogits forward(const PackedBatch& batch) override {
    stored_.need_words(batch.ids, parameters_.data());
    return batch.tokens() == 0 ? SpanLogits() : network_.forward(batch, parameters_.data());
  }
  std::vector<std::vector<float>> hidden_states(const PackedBatch& batch) override {
    if (batch.tokens() == 0) {
      return std::vector<std::vector<float>>(static_cast<size_t>(config_.num_hidden_layers) + 1);
    }
    stored_.need_words(batch.ids, parameters_.data());
    return network_.hidden_states(batch, parameters_.data());
  }

  double backward(const PackedBatch& batch, const SpanTargets& targets, const Dropout& dropout,
                  double weight) override {
    need_optimizer();
    if (batch.tokens() == 0) {
      return 0;
    }
    const double loss =
        network_.backward(batch, targets, dropout, weight, parameters_.data(), gradients_,
                          /*accumulate=*/holds_gradients_);
    holds_gradients_ = true;
    return loss;
  }
  void reduce_gradients(ProcessGroup& group) override {
    need_optimizer();
    if (!std::exchange(holds_gradients_, true)) {
      gradients_.dense.reserve_zeroed(layout_.size);
    }
    cpu::sum_over_processes(gradients_, layout_, group);
  }
  void store_gradients(const ParameterWriter& write) const override {
    require(optimizer_.has_value(), "gradients");
    if (holds_gradients_) {
      write_from(gradients_.dense.data(), write, &gradients_.words);
    } else {
      write_zeros(write);
    }
  }
  StepReport step(double learning_rate, const OptimizerSettings& settings) override {
    need_optimizer();
    network_.parameters_changed();
    if (!std::exchange(holds_gradients_, false)) {
      gradients_.dense.reserve_zeroed(layout_.size);
    }
    return optimizer_->step(learning_rate, settings, parameters_.data(), gradients_);
  }

  uint64_t steps() const override { return optimizer_ ? optimizer_->steps() : 0; }
  void store_moments(Moment moment, const ParameterWriter& write) const override {
    if (optimizer_) {
      write_from(optimizer_->moments(moment), write);
    } else {
      // Before the first step: a run may be stopped that early and leave a snapshot.
      write_zeros(write);
    }
  }
  void load_moments(Moment moment, const ParameterReader& read, uint64_t steps) override {
    need_optimizer();
    read_into(optimizer_->moments(moment), read);
    optimizer_->set_steps(steps);
  }

 private:
  /// 8-bit weights and the library's are made of plain rows: panels of one column.
  static size_t panel_width_of(const CpuOptions& options) {
    switch (options.precision) {
      case Precision::fp32:
        return cpu::panel_width();
      case Precision::bf16:
        return options.library_bf16 || cpu::library_has_tiles() || !cpu::has_bf16_panels()
                   ? 1
                   : cpu::kBf16Panel;
      default:
        return 1;
    }
  }

  /// Gradients and moments are three times the weights: inference does without.
  void need_optimizer() {
    if (!trains_) {
      throw Error(ErrorCode::usage,
                  "int8 computes answers and does not train; give --precision fp32 or bf16.");
    }
    stored_.take_over(parameters_.data());
    if (!optimizer_) {
      gradients_.dense.reserve_zeroed(layout_.size);
      gradients_.squares.emplace(layout_);
      optimizer_.emplace(layout_, pool_);
    }
  }
  static void require(bool there, const char* what) {
    if (!there) {
      throw Error(ErrorCode::runtime,
                  std::string("There are no ") + what + " yet: no training step was made.");
    }
  }
  void read_into(float* array, const ParameterReader& read) {
    std::vector<float> values;
    for (size_t i = 0; i < layout_.parameters.size(); ++i) {
      const ParameterInfo& info = layout_.parameters[i];
      const auto size = static_cast<size_t>(info.size());
      if (layout_.in_panels(i)) {
        values.resize(size);
        read(info, values);
        layout_.load(i, values, array);
      } else {
        read(info, {array + layout_.offsets[i], size});
      }
    }
  }
  void write_stored(const ParameterWriter& write) const {
    std::vector<float> values;
    for (size_t i = 0; i < layout_.parameters.size(); ++i) {
      values.resize(static_cast<size_t>(layout_.parameters[i].size()));
      stored_.parameters()[i].read(/*first=*/0, values);
      write(layout_.parameters[i], values);
    }
  }
  void write_zeros(const ParameterWriter& write) const {
    for (const ParameterInfo& info : layout_.parameters) {
      write(info, std::vector<float>(static_cast<size_t>(info.size())));
    }
  }
  /// The word embeddings come from `words` where they are given.
  void write_from(const float* array, const ParameterWriter& write,
                  const cpu::RowGradients* words = nullptr) const {
    std::vector<float> values;
    for (size_t i = 0; i < layout_.parameters.size(); ++i) {
      const ParameterInfo& info = layout_.parameters[i];
      const auto size = static_cast<size_t>(info.size());
      if (layout_.in_panels(i)) {
        values.resize(size);
        layout_.store(i, array, values);
        write(info, values);
      } else if (i == Layout::kWords && words != nullptr) {
        values.resize(size);
        words->store(values);
        write(info, values);
      } else {
        write(info, {array + layout_.offsets[i], size});
      }
    }
  }

  BertConfig config_;
  Layout layout_;
  const bool trains_;
  ThreadPool pool_;
  cpu::StoredParameters stored_;
  Network network_;
  Aligned<float> parameters_;
  cpu::ParameterGradients gradients_;
  /// False after a step: what lies in panels is then out of date, and the next backward overwrites
  /// it, which is cheaper than zeros to add to. The rest is zero.
  bool holds_gradients_ = false;
  mutable std::optional<Optimizer> optimizer_;
};

}  // namespace

bool cpu_multiplies_bf16() { return cpu::has_bf16_panels() || cpu::library_has_bf16(); }

PrecisionChoice fastest_cpu_precision(const BertConfig& config, unsigned threads, Purpose purpose) {
  constexpr size_t kMostTokens = 4096;  // of a batch
  std::vector<Precision> allowed = {Precision::fp32};
  if (cpu_multiplies_bf16()) {
    allowed.push_back(Precision::bf16);
  }
  PrecisionTrial trial;
  trial.allowed = allowed;
  trial.tokens = std::min(kMostTokens, threads * cpu::kMostBlockRows);  // a block for each thread
  trial.purpose = purpose;
  trial.make_engine = [threads](const BertConfig& layer, Precision precision) {
    return make_cpu_engine(layer, {threads, precision});
  };
  return fastest_precision(config, trial);
}

std::unique_ptr<CpuEngineWithStates> make_cpu_engine(const BertConfig& config,
                                                     const CpuOptions& options) {
  if (options.precision == Precision::automatic) {
    throw Error(ErrorCode::usage,
                "An engine computes in one precision; fastest_cpu_precision says which.");
  }
  if (options.precision == Precision::tf32 || options.precision == Precision::fp16) {
    throw Error(ErrorCode::usage, std::string(name_of(options.precision)) +
                                      " is not computed by the native engine; give --device cuda, "
                                      "or --precision fp32 or bf16.");
  }
  if (options.precision == Precision::bf16 && !cpu_multiplies_bf16()) {
    throw Error(ErrorCode::usage,
                "This CPU has no bf16 instructions (AVX512_BF16 or AMX); give --precision fp32.");
  }
  if (options.precision == Precision::int8 &&
      std::max(config.hidden_size, config.intermediate_size) >
          static_cast<int64_t>(cpu::kMostInt8Depth)) {
    throw Error(ErrorCode::usage, "This model is too wide for int8 (" +
                                      std::to_string(cpu::kMostInt8Depth) +
                                      " values in a row at most); give --precision fp32.");
  }
  return std::make_unique<CpuEngine>(config, options);
}

}  // namespace bertrand
