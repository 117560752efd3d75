#include "engine/torch/model.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace bertrand::plugin {
namespace {

using torch::nn::Module;

/// A module is `size` values or rows of values; there is no time lost with values to begin with.
at::Tensor unset(at::IntArrayRef shape, const c10::Device& device) {
  return at::empty(shape, at::TensorOptions(at::kFloat).device(device));
}

/// The weights of a product, or of several one below the other, as passes without gradients read
/// them: rounded once for all passes until they change. They stay where they are in memory.
struct Rounded {
  bool serves(at::ScalarType type) const {
    return weight.defined() && weight.scalar_type() == type && !c10::GradMode::is_enabled();
  }
  void take(const std::vector<at::Tensor>& weights, const std::vector<at::Tensor>& biases,
            at::ScalarType type) {
    take(weights, type, weight);
    take(biases, type, bias);
  }

  at::Tensor weight, bias;

 private:
  static void take(const std::vector<at::Tensor>& from, at::ScalarType type, at::Tensor& to) {
    const at::Tensor all = from.size() == 1 ? from.front() : at::cat(from);
    if (!to.defined() || to.scalar_type() != type) {
      to = at::empty(all.sizes(), all.options().dtype(type));
    }
    to.copy_(all);
  }
};

struct Linear : Module {
  Linear(int64_t in, int64_t out, const c10::Device& device)
      : weight(register_parameter("weight", unset({out, in}, device))),
        bias(register_parameter("bias", unset({out}, device))) {}

  /// x [T, in] W^T + b, computed in `type`, the weights rounded to it; [T, out] of that type.
  at::Tensor forward(const at::Tensor& x, at::ScalarType type) const {
    if (rounded.serves(type)) {
      return at::linear(x.to(type), rounded.weight, rounded.bias);
    }
    return at::linear(x.to(type), weight.to(type), bias.to(type));
  }

  at::Tensor weight, bias;
  Rounded rounded;
};

struct Embedding : Module {
  Embedding(int64_t rows, int64_t columns, const c10::Device& device)
      : weight(register_parameter("weight", unset({rows, columns}, device))) {}

  at::Tensor forward(const at::Tensor& ids) const { return at::embedding(weight, ids); }

  at::Tensor weight;
};

/// Ba, Kiros, Hinton, arXiv:1607.06450; in f32.
struct LayerNorm : Module {
  LayerNorm(int64_t columns, double layer_norm_epsilon, const c10::Device& device)
      : epsilon(layer_norm_epsilon),
        weight(register_parameter("weight", unset({columns}, device))),
        bias(register_parameter("bias", unset({columns}, device))) {}

  at::Tensor forward(const at::Tensor& x) const {
    return at::layer_norm(x.to(at::kFloat), weight.sizes(), weight, bias, epsilon);
  }

  double epsilon;
  at::Tensor weight, bias;
};

struct Embeddings : Module {
  Embeddings(const BertrandTorchConfig& config, const c10::Device& device) {
    const auto table = [&](const char* name, int64_t rows) {
      return register_module(name, std::make_shared<Embedding>(rows, config.hidden_size, device));
    };
    words = table("word_embeddings", config.vocabulary);
    positions = table("position_embeddings", config.positions);
    segments = table("token_type_embeddings", config.segments);
    norm = register_module("LayerNorm", std::make_shared<LayerNorm>(
                                            config.hidden_size, config.layer_norm_epsilon, device));
  }

  at::Tensor forward(const DeviceBatch& batch, const PassDropout& dropout) const {
    const at::Tensor sum = words->forward(batch.ids) + positions->forward(batch.positions) +
                           segments->forward(batch.segments);
    return dropout.apply(norm->forward(sum), batch, /*layer=*/0, DropoutSite::embeddings);
  }

  std::shared_ptr<Embedding> words, positions, segments;
  std::shared_ptr<LayerNorm> norm;
};

/// A product, dropout, the residual and LayerNorm: how both halves of a layer end.
struct Output : Module {
  Output(int64_t in, const BertrandTorchConfig& config, const c10::Device& device) {
    dense = register_module("dense", std::make_shared<Linear>(in, config.hidden_size, device));
    norm = register_module("LayerNorm", std::make_shared<LayerNorm>(
                                            config.hidden_size, config.layer_norm_epsilon, device));
  }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& residual, const DeviceBatch& batch,
                     const Pass& pass, int64_t layer, DropoutSite site) const {
    const at::Tensor y = dense->forward(x, pass.products);
    return norm->forward(residual + pass.dropout.apply(y, batch, layer, site));
  }

  std::shared_ptr<Linear> dense;
  std::shared_ptr<LayerNorm> norm;
};

struct SelfAttention : Module {
  SelfAttention(const BertrandTorchConfig& config, const c10::Device& device)
      : heads(config.heads) {
    const auto linear = [&](const char* name) {
      return register_module(
          name, std::make_shared<Linear>(config.hidden_size, config.hidden_size, device));
    };
    query = linear("query");
    key = linear("key");
    value = linear("value");
  }

  at::Tensor forward(const at::Tensor& x, const DeviceBatch& batch, const Pass& pass,
                     int64_t layer) const {
    const at::Tensor rows = x.to(pass.products);
    if (rounded.serves(pass.products)) {
      const std::vector<at::Tensor> parts =
          at::linear(rows, rounded.weight, rounded.bias).chunk(3, /*dim=*/1);
      return attention(pass.attention, parts[0], parts[1], parts[2], heads, layer, batch,
                       pass.dropout);
    }
    return attention(pass.attention, query->forward(rows, pass.products),
                     key->forward(rows, pass.products), value->forward(rows, pass.products), heads,
                     layer, batch, pass.dropout);
  }

  int64_t heads;
  std::shared_ptr<Linear> query, key, value;
  Rounded rounded;  // of all three, so that they are one product
};

struct Attention : Module {
  Attention(const BertrandTorchConfig& config, const c10::Device& device) {
    self = register_module("self", std::make_shared<SelfAttention>(config, device));
    output =
        register_module("output", std::make_shared<Output>(config.hidden_size, config, device));
  }

  at::Tensor forward(const at::Tensor& x, const DeviceBatch& batch, const Pass& pass,
                     int64_t layer) const {
    return output->forward(self->forward(x, batch, pass, layer), x, batch, pass, layer,
                           DropoutSite::attention_output);
  }

  std::shared_ptr<SelfAttention> self;
  std::shared_ptr<Output> output;
};

struct Intermediate : Module {
  Intermediate(const BertrandTorchConfig& config, const c10::Device& device)
      : gelu(config.tanh_gelu != 0 ? "tanh" : "none") {
    dense = register_module(
        "dense", std::make_shared<Linear>(config.hidden_size, config.intermediate_size, device));
  }

  at::Tensor forward(const at::Tensor& x, const Pass& pass) const {
    return at::gelu(dense->forward(x, pass.products), gelu);
  }

  const char* gelu;
  std::shared_ptr<Linear> dense;
};

struct Layer : Module {
  Layer(const BertrandTorchConfig& config, const c10::Device& device) {
    attention = register_module("attention", std::make_shared<Attention>(config, device));
    intermediate = register_module("intermediate", std::make_shared<Intermediate>(config, device));
    output = register_module("output",
                             std::make_shared<Output>(config.intermediate_size, config, device));
  }

  at::Tensor forward(const at::Tensor& x, const DeviceBatch& batch, const Pass& pass,
                     int64_t layer) const {
    const at::Tensor y = attention->forward(x, batch, pass, layer);
    return output->forward(intermediate->forward(y, pass), y, batch, pass, layer,
                           DropoutSite::output);
  }

  void round_weights(at::ScalarType type) const {
    SelfAttention& self = *attention->self;
    std::vector<at::Tensor> weights;
    std::vector<at::Tensor> biases;
    for (const auto& one : {self.query, self.key, self.value}) {
      weights.push_back(one->weight);
      biases.push_back(one->bias);
    }
    self.rounded.take(weights, biases, type);
    for (const auto& one : {attention->output->dense, intermediate->dense, output->dense}) {
      one->rounded.take({one->weight}, {one->bias}, type);
    }
  }

  std::shared_ptr<Attention> attention;
  std::shared_ptr<Intermediate> intermediate;
  std::shared_ptr<Output> output;
};

/// "bert.encoder.layer.N" is a module in a module in a module, as its name says.
struct Encoder : Module {
  Encoder(const BertrandTorchConfig& config, const c10::Device& device) {
    const auto list = register_module("layer", std::make_shared<Module>());
    for (int64_t number = 0; number < config.layers; ++number) {
      layers.push_back(
          list->register_module(std::to_string(number), std::make_shared<Layer>(config, device)));
    }
  }

  std::vector<std::shared_ptr<Layer>> layers;
};

struct Bert : Module {
  Bert(const BertrandTorchConfig& config, const c10::Device& device) {
    embeddings = register_module("embeddings", std::make_shared<Embeddings>(config, device));
    encoder = register_module("encoder", std::make_shared<Encoder>(config, device));
  }

  std::shared_ptr<Embeddings> embeddings;
  std::shared_ptr<Encoder> encoder;
};

}  // namespace

struct Model::Parts {
  std::shared_ptr<Bert> bert;
  std::shared_ptr<Linear> head;
};

Model::Model(const BertrandTorchConfig& config, const c10::Device& device)
    : parts_(std::make_unique<Parts>()) {
  parts_->bert = register_module("bert", std::make_shared<Bert>(config, device));
  parts_->head = register_module("qa_outputs",
                                 std::make_shared<Linear>(config.hidden_size, /*out=*/2, device));
}

Model::~Model() = default;

void Model::round_weights(at::ScalarType type) {
  for (const auto& layer : parts_->bert->encoder->layers) {
    layer->round_weights(type);
  }
}

Scores Model::forward(const DeviceBatch& batch, const Pass& pass, std::vector<at::Tensor>* states) {
  const auto keep = [&](const at::Tensor& x) {
    if (states != nullptr) {
      states->push_back(x);
    }
  };
  at::Tensor x = parts_->bert->embeddings->forward(batch, pass.dropout);
  keep(x);
  int64_t number = 0;
  for (const auto& layer : parts_->bert->encoder->layers) {
    x = layer->forward(x, batch, pass, number++);
    keep(x);
  }
  const at::Tensor scores = parts_->head->forward(x, at::kFloat);  // [T, 2]
  return {scores.select(1, 0), scores.select(1, 1)};
}

at::Tensor span_loss(const Scores& scores, const DeviceBatch& batch) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  const Bucket& all = batch.all;
  const auto one = [&](const at::Tensor& packed, const at::Tensor& targets) {
    at::Tensor padded = packed.index_select(0, all.rows).view({all.windows, all.length});
    if (all.valid.defined()) {
      padded = padded.masked_fill(all.valid.view({all.windows, all.length}).logical_not(), kNever);
    }
    return at::log_softmax(padded, 1).gather(1, targets).sum();
  };
  return (one(scores.start, batch.start) + one(scores.end, batch.end)) * -0.5;
}

}  // namespace bertrand::plugin
