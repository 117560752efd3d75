#include <string_view>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/safetensors.h"

namespace bertrand {
namespace {

using nlohmann::ordered_json;

ordered_json special_tokens() {
  return {{"unk_token", "[UNK]"},
          {"sep_token", "[SEP]"},
          {"pad_token", "[PAD]"},
          {"cls_token", "[CLS]"},
          {"mask_token", "[MASK]"}};
}

ordered_json tokenizer_config(const BertConfig& model, bool lower_case) {
  ordered_json config = {{"do_lower_case", lower_case}};
  config.update(special_tokens());
  config.update({{"tokenize_chinese_chars", true},
                 {"strip_accents", nullptr},
                 {"tokenizer_class", "BertTokenizer"},
                 {"model_max_length", model.max_position_embeddings}});
  return config;
}

void write_json(const std::filesystem::path& path, const ordered_json& value) {
  write_file(path, value.dump(/*indent=*/2) + "\n");
}

void copy_vocabulary(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::error_code ignored;
  if (!std::filesystem::equivalent(from, to, ignored)) {
    write_file(to, MappedFile(from).text());
  }
}

void write_weights(const std::filesystem::path& path, const ModelFolderContents& contents) {
  std::vector<TensorInfo> tensors;
  for (const ParameterInfo& info : contents.parameters) {
    tensors.push_back({info.name, contents.type, info.shape});
  }
  const int64_t hidden = contents.config.hidden_size;
  for (const auto& [name, values] : contents.pooler) {
    const bool is_bias = static_cast<int64_t>(values.size()) == hidden;
    tensors.push_back(
        {name, contents.type, is_bias ? std::vector{hidden} : std::vector{hidden, hidden}});
  }
  SafetensorsWriter writer(path, std::move(tensors));
  size_t stored = 0;
  contents.store_parameters([&](const ParameterInfo& info, std::span<const float> values) {
    if (stored == contents.parameters.size() || info.name != contents.parameters[stored].name) {
      throw Error(ErrorCode::runtime, path.string() + ": " + info.name + " is out of order.");
    }
    ++stored;
    writer.write(values);
  });
  for (const auto& [name, values] : contents.pooler) {
    writer.write(values);
  }
  writer.commit();
}

}  // namespace

void write_tokenizer_files(const std::filesystem::path& path, const BertConfig& config,
                           const std::filesystem::path& vocabulary, bool lower_case) {
  copy_vocabulary(vocabulary, path / "vocab.txt");
  write_json(path / "tokenizer_config.json", tokenizer_config(config, lower_case));
  write_json(path / "special_tokens_map.json", special_tokens());
}

void write_model_folder(const std::filesystem::path& path, const ModelFolderContents& contents) {
  write_tokenizer_files(path, contents.config, contents.vocabulary, contents.lower_case);
  write_weights(path / "model.safetensors", contents);
  write_file(path / "config.json", contents.config.to_json());  // last: now it is a model folder
}

}  // namespace bertrand
