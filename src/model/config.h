#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace bertrand {

/// GELU of the feed-forward part: by the error function ("gelu") or its tanh approximation
/// ("gelu_new", "gelu_pytorch_tanh"). Source: Hendrycks, Gimpel, arXiv:1606.08415.
enum class Activation { gelu, gelu_tanh };

/// The least epsilon of LayerNorm or an optimizer: a smaller one is denormal or 0 in f32, and does
/// not keep a division by 0 away.
inline constexpr double kLeastEpsilon = 1e-37;

/// What config.json (Hugging Face) or bert_config.json (Google) say of a BERT.
struct BertConfig {
  int64_t hidden_size = 768;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t intermediate_size = 3072;
  int64_t vocab_size = 30522;
  int64_t max_position_embeddings = 512;
  int64_t type_vocab_size = 2;
  double layer_norm_eps = 1e-12;
  double hidden_dropout_prob = 0.1;
  double attention_probs_dropout_prob = 0.1;
  double initializer_range = 0.02;
  int64_t pad_token_id = 0;
  Activation hidden_act = Activation::gelu;

  int64_t head_size() const { return hidden_size / num_attention_heads; }

  /// Throws Error (bad_input) naming `where` (the file) and the field that is missing, of the wrong
  /// type, out of range, or asks for something not supported (another model_type, relative
  /// positions).
  static BertConfig from_json(std::string_view json, const std::string& where);

  /// A config.json that transformers loads as BertForQuestionAnswering.
  std::string to_json() const;
};

}  // namespace bertrand
