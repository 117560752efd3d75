#include "model/config.h"

#include <array>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/small_json.h"

namespace bertrand {
namespace {

using nlohmann::json;

/// A value for messages: short, in printable ASCII.
std::string shown(const json& value) {
  constexpr size_t kShown = 60;
  if (!value.is_primitive()) {
    return value.is_object() ? "an object" : "an array";
  }
  const std::string text = value.dump(/*indent=*/-1, ' ', /*ensure_ascii=*/true);
  return text.size() > kShown ? text.substr(0, kShown) + "..." : text;
}

/// Reads typed fields of one JSON object; errors name the file and the field.
class Fields {
 public:
  Fields(std::string_view text, const std::string& where)
      : where_(where),
        object_(parse_json_object(text, where, "give the config that belongs to the weights")) {}

  /// The field, nullptr where it is absent or null.
  const json* find(const char* name) const {
    const auto found = object_.find(name);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  /// A whole number in [least, most]. `otherwise` stands in for an absent field; without it the
  /// field must be there.
  int64_t whole(const char* name, int64_t least, int64_t most, const int64_t* otherwise) const {
    const json* field = find(name);
    if (field == nullptr) {
      if (otherwise == nullptr) {
        complain(name, "is missing; take the config that belongs to the weights");
      }
      return *otherwise;
    }
    const std::string range = "must be a whole number from " + std::to_string(least) + " to " +
                              std::to_string(most) + ", and is " + shown(*field);
    if (!field->is_number_integer()) {
      complain(name, range);
    }
    const bool too_large =
        field->is_number_unsigned() && field->get<uint64_t>() > static_cast<uint64_t>(most);
    if (too_large || field->get<int64_t>() < least || field->get<int64_t>() > most) {
      complain(name, range);
    }
    return field->get<int64_t>();
  }
  int64_t required(const char* name, int64_t most) const { return whole(name, 1, most, nullptr); }

  /// A number in [least, most).
  double real(const char* name, double least, double most, double otherwise) const {
    const json* field = find(name);
    if (field == nullptr) {
      return otherwise;
    }
    if (!field->is_number() || !(field->get<double>() >= least && field->get<double>() < most)) {
      complain(name, "must be a number from " + json(least).dump() + " to below " +
                         json(most).dump() + ", and is " + shown(*field));
    }
    return field->get<double>();
  }

  std::string text(const char* name, const char* otherwise) const {
    const auto field = object_.find(name);
    if (field == object_.end()) {
      return otherwise;
    }
    if (!field->is_string()) {
      complain(name, "must be a string, and is " + shown(*field));
    }
    return field->get<std::string>();
  }

  /// Throws where a field that changes what the model computes has another value than this.
  void must_be(const char* name, const json& value) const {
    const json* field = find(name);
    if (field != nullptr && *field != value) {
      complain(name, "must be " + value.dump() + ", and is " + shown(*field) +
                         "; other kinds of model are not supported");
    }
  }

  [[noreturn]] void complain(const std::string& name, const std::string& what) const {
    throw Error(ErrorCode::bad_input, where_ + ": \"" + name + "\" " + what + ".");
  }

 private:
  std::string where_;
  json object_;
};

struct ActivationName {
  const char* name;
  Activation activation;
};

/// transformers' names. gelu_fast and gelu_accurate are gelu_new written in other words.
constexpr std::array kActivations = {ActivationName{"gelu", Activation::gelu},
                                     ActivationName{"gelu_python", Activation::gelu},
                                     ActivationName{"gelu_new", Activation::gelu_tanh},
                                     ActivationName{"gelu_pytorch_tanh", Activation::gelu_tanh},
                                     ActivationName{"gelu_fast", Activation::gelu_tanh},
                                     ActivationName{"gelu_accurate", Activation::gelu_tanh}};

Activation read_activation(const Fields& fields) {
  const std::string name = fields.text("hidden_act", "gelu");
  for (const ActivationName& known : kActivations) {
    if (name == known.name) {
      return known.activation;
    }
  }
  fields.complain("hidden_act",
                  "must be \"gelu\" or, for its tanh approximation, \"gelu_new\" or "
                  "\"gelu_pytorch_tanh\", and is " +
                      shown(name));
}

}  // namespace

BertConfig BertConfig::from_json(std::string_view text, const std::string& where) {
  constexpr int64_t kMostWidth = 1 << 16;
  constexpr int64_t kMostLayers = 1 << 10;
  constexpr int64_t kMostRows = 1 << 24;  // of an embedding table
  constexpr int64_t kSegments = 2;        // question and document
  const Fields fields(text, where);
  fields.must_be("model_type", "bert");
  fields.must_be("position_embedding_type", "absolute");
  fields.must_be("is_decoder", false);
  fields.must_be("add_cross_attention", false);

  BertConfig config;
  config.hidden_size = fields.required("hidden_size", kMostWidth);
  config.num_hidden_layers = fields.required("num_hidden_layers", kMostLayers);
  config.num_attention_heads = fields.required("num_attention_heads", kMostWidth);
  config.intermediate_size = fields.required("intermediate_size", kMostWidth);
  config.vocab_size = fields.required("vocab_size", kMostRows);
  config.max_position_embeddings =
      fields.whole("max_position_embeddings", 1, kMostRows, &config.max_position_embeddings);
  config.type_vocab_size =
      fields.whole("type_vocab_size", kSegments, kMostRows, &config.type_vocab_size);
  config.pad_token_id =
      fields.whole("pad_token_id", 0, config.vocab_size - 1, &config.pad_token_id);
  config.layer_norm_eps = fields.real("layer_norm_eps", kLeastEpsilon, 1, config.layer_norm_eps);
  config.hidden_dropout_prob = fields.real("hidden_dropout_prob", 0, 1, config.hidden_dropout_prob);
  config.attention_probs_dropout_prob =
      fields.real("attention_probs_dropout_prob", 0, 1, config.attention_probs_dropout_prob);
  config.initializer_range = fields.real("initializer_range", 0, 1000, config.initializer_range);
  config.hidden_act = read_activation(fields);
  if (config.hidden_size % config.num_attention_heads != 0) {
    fields.complain("hidden_size", "must be a multiple of \"num_attention_heads\"");
  }
  return config;
}

std::string BertConfig::to_json() const {
  const nlohmann::ordered_json config = {
      {"architectures", {"BertForQuestionAnswering"}},
      {"attention_probs_dropout_prob", attention_probs_dropout_prob},
      {"hidden_act", hidden_act == Activation::gelu ? "gelu" : "gelu_new"},
      {"hidden_dropout_prob", hidden_dropout_prob},
      {"hidden_size", hidden_size},
      {"initializer_range", initializer_range},
      {"intermediate_size", intermediate_size},
      {"layer_norm_eps", layer_norm_eps},
      {"max_position_embeddings", max_position_embeddings},
      {"model_type", "bert"},
      {"num_attention_heads", num_attention_heads},
      {"num_hidden_layers", num_hidden_layers},
      {"pad_token_id", pad_token_id},
      {"position_embedding_type", "absolute"},
      {"type_vocab_size", type_vocab_size},
      {"vocab_size", vocab_size}};
  return config.dump(/*indent=*/2) + "\n";
}

}  // namespace bertrand
