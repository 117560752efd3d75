#pragma once

#include <cstdint>
#include <vector>

#include "checkpoint/fixtures.h"
#include "checkpoint/model_folder.h"
#include "model/initial_parameters.h"

namespace bertrand::test {

constexpr uint64_t kSeed = 11;  // of the small model's parameters

inline BertConfig small_config() {
  BertConfig config;
  config.hidden_size = 6;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 2;
  config.intermediate_size = 10;
  config.vocab_size = 9;
  config.max_position_embeddings = 7;
  return config;
}

inline std::vector<float> small_values(const ParameterInfo& info) {
  std::vector<float> values(static_cast<size_t>(info.size()));
  initial_parameters(small_config(), kSeed)(info, values);
  return values;
}

/// The small model, to be written. Its vocabulary is put into `folder` as words.txt.
inline ModelFolderContents small_contents(const TemporaryFolder& folder) {
  write(folder / "words.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nB\n##d\n");
  ModelFolderContents contents;
  contents.config = small_config();
  contents.vocabulary = folder / "words.txt";
  contents.parameters = bert_parameters(small_config());
  contents.store_parameters = [](const ParameterWriter& write_parameter) {
    for (const ParameterInfo& info : bert_parameters(small_config())) {
      write_parameter(info, small_values(info));
    }
  };
  return contents;
}

}  // namespace bertrand::test
