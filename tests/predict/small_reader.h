#pragma once

#include <filesystem>
#include <fstream>
#include <span>
#include <vector>

#include "checkpoint/model_folder.h"
#include "model/initial_parameters.h"

namespace bertrand::test {

inline constexpr const char* kSmallWords =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nred\nfox\n##"
    "es\nran\noff\nwho\nwhat\nwhen\nat\nnight\nowl\n"
    "##s\nhunt\nmice\nand\nvole\n.\n?\n,\n";

/// Of a model of these words.
inline BertConfig small_reader_config() {
  BertConfig config;
  config.hidden_size = 16;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 2;
  config.intermediate_size = 32;
  config.vocab_size = 25;
  config.max_position_embeddings = 48;
  config.initializer_range = 0.5;  // far apart, so that no two answers score alike
  return config;
}

/// Writes a model folder small enough for any test: random weights, words about foxes. What it
/// answers means nothing but is always the same.
inline void write_small_reader(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  const std::filesystem::path words = folder.string() + "-words.txt";
  std::ofstream(words) << kSmallWords;
  const BertConfig config = small_reader_config();
  ModelFolderContents contents;
  contents.config = config;
  contents.vocabulary = words;
  contents.parameters = bert_parameters(config);
  contents.store_parameters = [config](const ParameterWriter& write) {
    for (const ParameterInfo& info : bert_parameters(config)) {
      std::vector<float> values(static_cast<size_t>(info.size()));
      initial_parameters(config, /*seed=*/5)(info, values);
      write(info, values);
    }
  };
  write_model_folder(folder, contents);
}

}  // namespace bertrand::test
