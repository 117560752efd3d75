#include "engine/torch_engine.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "base/error.h"
#include "engine/torch_group.h"

namespace bertrand {
namespace {

int32_t precision_of(Precision precision) {
  switch (precision) {
    case Precision::fp32:
      return bertrand_torch_fp32;
    case Precision::tf32:
      return bertrand_torch_tf32;
    case Precision::bf16:
      return bertrand_torch_bf16;
    case Precision::fp16:
      return bertrand_torch_fp16;
    case Precision::int8:
      throw Error(
          ErrorCode::usage,
          "int8 is computed by the native engine alone; leave out --engine and --device, or "
          "give --precision fp32 or bf16.");
    default:
      throw Error(ErrorCode::usage,
                  "An engine computes in one precision; fastest_torch_precision says which.");
  }
}

BertrandTorchConfig border_config(const BertConfig& config) {
  BertrandTorchConfig border{};
  border.size = sizeof border;
  border.hidden_size = config.hidden_size;
  border.layers = config.num_hidden_layers;
  border.heads = config.num_attention_heads;
  border.intermediate_size = config.intermediate_size;
  border.vocabulary = config.vocab_size;
  border.positions = config.max_position_embeddings;
  border.segments = config.type_vocab_size;
  border.layer_norm_epsilon = config.layer_norm_eps;
  border.tanh_gelu = config.hidden_act == Activation::gelu_tanh ? 1 : 0;
  return border;
}

BertrandTorchBatch border_batch(const PackedBatch& batch, const SpanTargets* targets = nullptr) {
  BertrandTorchBatch border{};
  border.size = sizeof border;
  border.windows = batch.windows();
  border.tokens = batch.tokens();
  border.ids = batch.ids.data();
  border.segments = batch.segments.data();
  border.offsets = batch.offsets.data();
  border.keys = batch.keys.data();
  if (targets != nullptr) {
    border.start = targets->start.data();
    border.end = targets->end.data();
  }
  return border;
}

BertrandTorchOptimizer border_settings(const OptimizerSettings& settings) {
  BertrandTorchOptimizer border{};
  border.size = sizeof border;
  border.bias_correction = settings.kind == OptimizerKind::adamw ? 1 : 0;
  border.clip = settings.clip == GradientClip::none     ? bertrand_torch_clip_none
                : settings.clip == GradientClip::global ? bertrand_torch_clip_global
                                                        : bertrand_torch_clip_per_parameter;
  border.beta1 = settings.beta1;
  border.beta2 = settings.beta2;
  border.epsilon = settings.epsilon;
  border.weight_decay = settings.weight_decay;
  border.max_gradient_norm = settings.max_gradient_norm;
  return border;
}

/// Exceptions do not cross the border: they wait here until the call is over.
template <typename Use>
struct Callback {
  const Use& use;
  const std::vector<ParameterInfo>& parameters;
  std::exception_ptr thrown;

  template <typename Value>
  static int32_t call(void* context, size_t index, Value* values, size_t count) {
    auto& self = *static_cast<Callback*>(context);
    try {
      self.use(self.parameters[index], {values, count});
      return 0;
    } catch (...) {
      self.thrown = std::current_exception();
      return 1;
    }
  }
};

class TorchEngine final : public EngineWithStates {
 public:
  TorchEngine(std::shared_ptr<const TorchPlugin> plugin, const BertConfig& config,
              const TorchOptions& options)
      : plugin_(std::move(plugin)),
        config_(config),
        parameters_(bert_parameters(config)),
        engine_(create(options), table().free_engine) {}

  const BertConfig& config() const override { return config_; }
  const std::vector<ParameterInfo>& parameters() const override { return parameters_; }

  void load_parameters(const ParameterReader& read) override { load(bertrand_torch_weights, read); }
  void store_parameters(const ParameterWriter& write) const override {
    store(bertrand_torch_weights, write);
  }

  SpanLogits forward(const PackedBatch& batch) override {
    check_batch(batch, config_);
    SpanLogits logits;
    if (batch.tokens() == 0) {
      return logits;
    }
    logits.start.resize(batch.tokens());
    logits.end.resize(batch.tokens());
    const BertrandTorchBatch border = border_batch(batch);
    plugin_->check(table().forward(engine_.get(), &border, logits.start.data(), logits.end.data()));
    return logits;
  }

  std::vector<std::vector<float>> hidden_states(const PackedBatch& batch) override {
    check_batch(batch, config_);
    const auto layers = static_cast<size_t>(config_.num_hidden_layers) + 1;
    std::vector<std::vector<float>> states(layers);
    if (batch.tokens() == 0) {
      return states;
    }
    const size_t size = batch.tokens() * static_cast<size_t>(config_.hidden_size);
    std::vector<float> all(layers * size);
    const BertrandTorchBatch border = border_batch(batch);
    plugin_->check(table().hidden_states(engine_.get(), &border, all.data()));
    for (size_t layer = 0; layer < layers; ++layer) {
      const float* begin = all.data() + layer * size;
      states[layer].assign(begin, begin + size);
    }
    return states;
  }

  double backward(const PackedBatch& batch, const SpanTargets& targets, const Dropout& dropout,
                  double weight) override {
    check_batch(batch, config_);
    check_targets(batch, targets);
    if (batch.tokens() == 0) {
      return 0;
    }
    const BertrandTorchBatch border = border_batch(batch, &targets);
    const BertrandTorchDropout how{sizeof how, dropout.seed, dropout.step, dropout.hidden,
                                   dropout.attention};
    double loss = 0;
    plugin_->check(table().backward(engine_.get(), &border, &how, weight, &loss));
    return loss;
  }

  /// On the device where the processes are joined by LibTorch; else by way of the host.
  void reduce_gradients(ProcessGroup& group) override {
    if (auto* joined = dynamic_cast<TorchProcessGroup*>(&group)) {
      plugin_->check(table().reduce_gradients(engine_.get(), joined->border()));
      return;
    }
    std::vector<std::vector<float>> gradients;
    store_gradients([&](const ParameterInfo&, std::span<const float> values) {
      gradients.emplace_back(values.begin(), values.end());
      group.sum(gradients.back());
    });
    size_t next = 0;
    load(bertrand_torch_gradients, [&](const ParameterInfo&, std::span<float> values) {
      std::copy(gradients[next].begin(), gradients[next].end(), values.begin());
      ++next;
    });
  }
  void store_gradients(const ParameterWriter& write) const override {
    store(bertrand_torch_gradients, write);
  }

  StepReport step(double learning_rate, const OptimizerSettings& settings) override {
    const BertrandTorchOptimizer border = border_settings(settings);
    BertrandTorchReport report{sizeof report, 0, 0};
    plugin_->check(table().step(engine_.get(), learning_rate, &border, &report));
    return {report.gradient_norm, report.repeat != 0};
  }

  uint64_t steps() const override { return table().steps(engine_.get()); }
  void store_moments(Moment moment, const ParameterWriter& write) const override {
    store(kind_of(moment), write);
  }
  void load_moments(Moment moment, const ParameterReader& read, uint64_t steps) override {
    load(kind_of(moment), read);
    plugin_->check(table().set_steps(engine_.get(), steps));
  }

  std::optional<LossScaling> loss_scaling() const override {
    BertrandTorchScaling scaling{sizeof scaling, 0, 0};
    plugin_->check(table().scaling(engine_.get(), &scaling));
    return scaling.scale > 0 ? std::optional(LossScaling{scaling.scale, scaling.good_steps})
                             : std::nullopt;
  }
  void set_loss_scaling(const LossScaling& scaling) override {
    const BertrandTorchScaling border{sizeof border, scaling.scale, scaling.good_steps};
    plugin_->check(table().set_scaling(engine_.get(), &border));
  }
  void skip_step() override { plugin_->check(table().set_steps(engine_.get(), steps() + 1)); }

 private:
  const BertrandTorchTable& table() const { return plugin_->table(); }

  static int32_t kind_of(Moment moment) {
    return moment == Moment::first ? bertrand_torch_first_moments : bertrand_torch_second_moments;
  }

  BertrandTorchEngine* create(const TorchOptions& options) const {
    const BertrandTorchConfig config = border_config(config_);
    BertrandTorchOptions border{};
    border.size = sizeof border;
    border.device = options.device.c_str();
    border.library = options.library.empty() ? nullptr : options.library.c_str();
    border.precision = precision_of(options.precision);
    border.example_masks = options.example_masks ? 1 : 0;
    border.threads = options.threads;
    std::vector<BertrandTorchParameter> parameters;
    parameters.reserve(parameters_.size());
    for (const ParameterInfo& info : parameters_) {
      parameters.push_back(
          {info.name.c_str(), info.shape.data(), info.shape.size(), info.decays ? 1 : 0});
    }
    BertrandTorchEngine* engine = nullptr;
    plugin_->check(
        table().create_engine(&config, &border, parameters.data(), parameters.size(), &engine));
    return engine;
  }

  void load(int32_t kind, const ParameterReader& read) {
    Callback<ParameterReader> callback{read, parameters_, nullptr};
    const int32_t status =
        table().load(engine_.get(), kind, Callback<ParameterReader>::call<float>, &callback);
    end(status, callback.thrown);
  }
  void store(int32_t kind, const ParameterWriter& write) const {
    Callback<ParameterWriter> callback{write, parameters_, nullptr};
    const int32_t status =
        table().store(engine_.get(), kind, Callback<ParameterWriter>::call<const float>, &callback);
    end(status, callback.thrown);
  }
  void end(int32_t status, const std::exception_ptr& thrown) const {
    if (thrown) {
      std::rethrow_exception(thrown);
    }
    plugin_->check(status);
  }

  std::shared_ptr<const TorchPlugin> plugin_;
  BertConfig config_;
  std::vector<ParameterInfo> parameters_;
  std::unique_ptr<BertrandTorchEngine, void (*)(BertrandTorchEngine*)> engine_;
};

}  // namespace

std::unique_ptr<EngineWithStates> make_torch_engine(std::shared_ptr<const TorchPlugin> plugin,
                                                    const BertConfig& config,
                                                    const TorchOptions& options) {
  return std::make_unique<TorchEngine>(std::move(plugin), config, options);
}

PrecisionChoice fastest_torch_precision(const std::shared_ptr<const TorchPlugin>& plugin,
                                        const BertConfig& config, const TorchOptions& options,
                                        Purpose purpose) {
  const std::string type = options.device.substr(0, options.device.find(':'));
  int32_t has_bf16 = 0;
  plugin->check(plugin->table().count_devices(
      type.c_str(), options.library.empty() ? nullptr : options.library.c_str(), nullptr,
      &has_bf16));
  std::vector<Precision> allowed = {Precision::fp32};
  if (type == "cuda") {
    allowed.push_back(Precision::tf32);
  }
  if (has_bf16 != 0) {
    allowed.push_back(Precision::bf16);
  }
  constexpr size_t kTokens = 4096;  // what a batch is cut into
  PrecisionTrial trial;
  trial.allowed = allowed;
  trial.tokens = type == "cpu" ? PrecisionTrial().tokens : kTokens;
  trial.purpose = purpose;
  trial.make_engine = [&](const BertConfig& layer, Precision precision) {
    TorchOptions mine = options;
    mine.precision = precision;
    return make_torch_engine(plugin, layer, mine);
  };
  return fastest_precision(config, trial);
}

}  // namespace bertrand
