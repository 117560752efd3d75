#include "checkpoint/onnx_graph.h"

#include <cmath>
#include <span>

#include "base/error.h"

namespace bertrand {
namespace {

constexpr uint64_t kFloat = 1;  // TensorProto.DataType
constexpr uint64_t kInt64 = 7;
constexpr float kMasked = -1e9F;  // added to a score: softmax then gives exactly 0

using Names = std::vector<std::string>;

/// Adds nodes and constants; each call of an operator gives the name of its output.
class GraphBuilder {
 public:
  /// An attribute, complete.
  struct Attribute {
    ProtobufWriter message;

    static Attribute number(std::string_view name, int64_t value) {
      Attribute attribute;
      attribute.message.text(1, name);
      attribute.message.number(3, static_cast<uint64_t>(value));
      attribute.message.number(20, 2);
      return attribute;
    }
    static Attribute real(std::string_view name, float value) {
      Attribute attribute;
      attribute.message.text(1, name);
      attribute.message.real(2, value);
      attribute.message.number(20, 1);
      return attribute;
    }
    static Attribute numbers(std::string_view name, std::initializer_list<int64_t> values) {
      Attribute attribute;
      attribute.message.text(1, name);
      for (const int64_t value : values) {
        attribute.message.number(8, static_cast<uint64_t>(value));
      }
      attribute.message.number(20, 7);
      return attribute;
    }
  };

  std::string node(std::string_view op, const Names& inputs,
                   std::initializer_list<Attribute> attributes = {}) {
    std::string output = std::string(op) + "_" + std::to_string(count_);
    node(op, inputs, {output}, attributes);
    return output;
  }

  void node(std::string_view op, const Names& inputs, const Names& outputs,
            std::initializer_list<Attribute> attributes = {}) {
    ProtobufWriter message;
    for (const std::string& input : inputs) message.text(1, input);
    for (const std::string& output : outputs) message.text(2, output);
    message.text(3, "node_" + std::to_string(count_++));
    message.text(4, op);
    for (const Attribute& attribute : attributes) message.message(5, attribute.message);
    graph_.message(1, message);
  }

  /// A list of whole numbers, [size].
  std::string whole(std::initializer_list<int64_t> values) {
    const std::span<const int64_t> all(values.begin(), values.size());
    return constant(kInt64, {static_cast<int64_t>(values.size())}, std::as_bytes(all));
  }
  /// One number, [].
  std::string real(float value) {
    return constant(kFloat, {}, std::as_bytes(std::span(&value, 1)));
  }

  /// Inputs (field 11) and outputs (12): [batch, sequence].
  void value(uint32_t field, std::string_view name, uint64_t type) {
    ProtobufWriter shape;
    for (const char* dimension : {"batch", "sequence"}) {
      ProtobufWriter size;
      size.text(2, dimension);
      shape.message(1, size);
    }
    ProtobufWriter tensor;
    tensor.number(1, type);
    tensor.message(2, shape);
    ProtobufWriter kind;
    kind.message(1, tensor);
    ProtobufWriter message;
    message.text(1, name);
    message.message(2, kind);
    graph_.message(field, message);
  }

  ProtobufWriter& graph() { return graph_; }

 private:
  std::string constant(uint64_t type, const std::vector<int64_t>& shape,
                       std::span<const std::byte> bytes) {
    std::string name = "constant_" + std::to_string(constants_++);
    ProtobufWriter tensor;
    for (const int64_t size : shape) tensor.number(1, static_cast<uint64_t>(size));
    tensor.number(2, type);
    tensor.text(8, name);
    tensor.text(9, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    graph_.message(5, tensor);
    return name;
  }

  ProtobufWriter graph_;
  size_t count_ = 0;
  size_t constants_ = 0;
};

using Attribute = GraphBuilder::Attribute;

class BertGraph {
 public:
  explicit BertGraph(const BertConfig& config) : config_(config) {}

  std::string build(const std::vector<TensorInfo>& tensors) {
    graph_.graph().text(2, "bert_question_answering");
    for (const char* input : {"input_ids", "attention_mask", "token_type_ids"}) {
      graph_.value(11, input, kInt64);
    }
    graph_.value(12, "start_logits", kFloat);
    graph_.value(12, "end_logits", kFloat);
    for (const TensorInfo& tensor : tensors) {
      if (tensor.type != DataType::f32) {
        graph_.node("Cast", {onnx_initializer_name(tensor)}, {tensor.name},
                    {Attribute::number("to", kFloat)});
      }
    }
    const std::string mask = attention_mask();
    std::string hidden = embeddings();
    for (int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
      hidden = encoder_layer(hidden, mask, "bert.encoder.layer." + std::to_string(layer) + ".");
    }
    span_head(hidden);
    return graph_.graph().result();
  }

 private:
  std::string linear(const std::string& input, const std::string& name) {
    return graph_.node("Add", {graph_.node("MatMul", {input, name + ".weight"}), name + ".bias"});
  }

  std::string layer_norm(const std::string& input, const std::string& name) {
    return graph_.node("LayerNormalization", {input, name + ".weight", name + ".bias"},
                       {Attribute::number("axis", -1),
                        Attribute::real("epsilon", static_cast<float>(config_.layer_norm_eps))});
  }

  /// 0 where a token may be looked at, [batch, 1, 1, sequence].
  std::string attention_mask() {
    const std::string kept =
        graph_.node("Cast", {"attention_mask"}, {Attribute::number("to", kFloat)});
    const std::string hidden = graph_.node("Sub", {graph_.real(1), kept});
    const std::string scores = graph_.node("Mul", {hidden, graph_.real(kMasked)});
    return graph_.node("Unsqueeze", {scores, graph_.whole({1, 2})});
  }

  std::string embeddings() {
    const std::string prefix = "bert.embeddings.";
    const std::string words =
        graph_.node("Gather", {prefix + "word_embeddings.weight", "input_ids"});
    const std::string segments =
        graph_.node("Gather", {prefix + "token_type_embeddings.weight", "token_type_ids"});
    const std::string length =
        graph_.node("Gather", {graph_.node("Shape", {"input_ids"}), graph_.whole({1})});
    const std::string positions = graph_.node(
        "Slice",
        {prefix + "position_embeddings.weight", graph_.whole({0}), length, graph_.whole({0})});
    const std::string sum = graph_.node("Add", {words, segments});
    return layer_norm(graph_.node("Add", {sum, positions}), prefix + "LayerNorm");
  }

  /// [batch, sequence, hidden] to heads; `order` is that of batch, sequence, head and place.
  std::string heads(const std::string& input, std::initializer_list<int64_t> order) {
    const std::string cut = graph_.node(
        "Reshape", {input, graph_.whole({0, 0, config_.num_attention_heads, config_.head_size()})});
    return graph_.node("Transpose", {cut}, {Attribute::numbers("perm", order)});
  }

  std::string attention(const std::string& input, const std::string& mask,
                        const std::string& prefix) {
    const std::string query = heads(linear(input, prefix + "query"), {0, 2, 1, 3});
    const std::string key = heads(linear(input, prefix + "key"), {0, 2, 3, 1});
    const std::string value = heads(linear(input, prefix + "value"), {0, 2, 1, 3});
    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(config_.head_size())));
    const std::string scores =
        graph_.node("Mul", {graph_.node("MatMul", {query, key}), graph_.real(scale)});
    const std::string shares = graph_.node("Softmax", {graph_.node("Add", {scores, mask})},
                                           {Attribute::number("axis", -1)});
    const std::string mixed = graph_.node("Transpose", {graph_.node("MatMul", {shares, value})},
                                          {Attribute::numbers("perm", {0, 2, 1, 3})});
    return graph_.node("Reshape", {mixed, graph_.whole({0, 0, config_.hidden_size})});
  }

  /// By the error function, or by tanh (Hendrycks, Gimpel, arXiv:1606.08415).
  std::string gelu(const std::string& x) {
    std::string inner;
    if (config_.hidden_act == Activation::gelu) {
      const std::string scaled = graph_.node("Mul", {x, graph_.real(std::sqrt(0.5F))});
      inner = graph_.node("Erf", {scaled});
    } else {
      const std::string cube = graph_.node("Mul", {graph_.node("Mul", {x, x}), x});
      const std::string bent =
          graph_.node("Add", {x, graph_.node("Mul", {cube, graph_.real(0.044715F)})});
      constexpr float kRootOfTwoOverPi = 0.79788456F;
      inner = graph_.node("Tanh", {graph_.node("Mul", {bent, graph_.real(kRootOfTwoOverPi)})});
    }
    const std::string half = graph_.node("Mul", {x, graph_.real(0.5F)});
    return graph_.node("Mul", {half, graph_.node("Add", {inner, graph_.real(1)})});
  }

  std::string encoder_layer(const std::string& input, const std::string& mask,
                            const std::string& prefix) {
    const std::string mixed = linear(attention(input, mask, prefix + "attention.self."),
                                     prefix + "attention.output.dense");
    const std::string attended =
        layer_norm(graph_.node("Add", {mixed, input}), prefix + "attention.output.LayerNorm");
    const std::string wide = gelu(linear(attended, prefix + "intermediate.dense"));
    const std::string narrow = linear(wide, prefix + "output.dense");
    return layer_norm(graph_.node("Add", {narrow, attended}), prefix + "output.LayerNorm");
  }

  void span_head(const std::string& hidden) {
    const Names halves = {"start", "end"};
    graph_.node("Split", {linear(hidden, "qa_outputs")}, halves, {Attribute::number("axis", -1)});
    const std::string axis = graph_.whole({-1});
    for (const std::string& half : halves) {
      graph_.node("Squeeze", {half, axis}, Names{half + "_logits"});
    }
  }

  const BertConfig& config_;
  GraphBuilder graph_;
};

}  // namespace

uint64_t onnx_type(DataType type) {
  switch (type) {
    case DataType::f32:
      return kFloat;
    case DataType::f16:
      return 10;
    case DataType::bf16:
      return 16;
    default:
      throw Error(ErrorCode::runtime, "Weights in ONNX are F32, F16 or BF16.");
  }
}

std::string onnx_initializer_name(const TensorInfo& tensor) {
  return tensor.type == DataType::f32 ? tensor.name : tensor.name + ".stored";
}

std::string onnx_bert_graph(const BertConfig& config, const std::vector<TensorInfo>& tensors) {
  return BertGraph(config).build(tensors);
}

}  // namespace bertrand
