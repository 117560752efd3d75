#include "model/parameters.h"

#include <functional>
#include <numeric>

namespace bertrand {

int64_t ParameterInfo::size() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

std::vector<ParameterInfo> bert_parameters(const BertConfig& config) {
  const int64_t hidden = config.hidden_size;
  const int64_t intermediate = config.intermediate_size;
  std::vector<ParameterInfo> all;
  const auto weight = [&](const std::string& name, int64_t rows, int64_t columns) {
    all.push_back({name + ".weight", {rows, columns}, /*decays=*/true});
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    weight(name, out, in);
    all.push_back({name + ".bias", {out}, /*decays=*/false});
  };
  const auto layer_norm = [&](const std::string& name) {
    all.push_back({name + ".weight", {hidden}, /*decays=*/false});
    all.push_back({name + ".bias", {hidden}, /*decays=*/false});
  };
  weight("bert.embeddings.word_embeddings", config.vocab_size, hidden);
  weight("bert.embeddings.position_embeddings", config.max_position_embeddings, hidden);
  weight("bert.embeddings.token_type_embeddings", config.type_vocab_size, hidden);
  layer_norm("bert.embeddings.LayerNorm");
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const std::string prefix = "bert.encoder.layer." + std::to_string(layer) + ".";
    linear(prefix + "attention.self.query", hidden, hidden);
    linear(prefix + "attention.self.key", hidden, hidden);
    linear(prefix + "attention.self.value", hidden, hidden);
    linear(prefix + "attention.output.dense", hidden, hidden);
    layer_norm(prefix + "attention.output.LayerNorm");
    linear(prefix + "intermediate.dense", intermediate, hidden);
    linear(prefix + "output.dense", hidden, intermediate);
    layer_norm(prefix + "output.LayerNorm");
  }
  linear("qa_outputs", /*out=*/2, hidden);
  return all;
}

ParameterReader read_whole(const ParameterStore& stored) {
  return [stored](const ParameterInfo& info, std::span<float> values) {
    stored(info).read(/*first=*/0, values);
  };
}

}  // namespace bertrand
