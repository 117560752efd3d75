#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/vocabulary_file.h"
#include "checkpoint/weight_writer.h"
#include "model/int8.h"

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

std::string json_text(const ordered_json& value) { return value.dump(/*indent=*/2) + "\n"; }

/// Whether a parameter is written as 8-bit numbers.
bool becomes_int8(const ModelFolderContents& contents, const ParameterInfo& info) {
  constexpr int64_t kFewRows = 2;  // segments, and the span head
  return contents.type == DataType::i8 && info.shape.size() == 2 && info.shape[0] > kFewRows;
}

/// Rows as whole numbers times a factor of the row's own.
void write_int8(const ParameterInfo& info, std::span<const float> values, SafetensorsWriter& writer,
                const std::string& where) {
  const auto columns = static_cast<size_t>(info.shape[1]);
  std::vector<std::byte> bytes(values.size());
  std::vector<float> scales(static_cast<size_t>(info.shape[0]));
  for (size_t row = 0; row < scales.size(); ++row) {
    const auto of_row = values.subspan(row * columns, columns);
    const Int8Scale scale = Int8Scale::of(of_row);
    if (std::isnan(scale.scale)) {
      throw Error(ErrorCode::bad_input,
                  where + ": " + info.name + " holds NaN or infinity, which 8-bit numbers cannot.");
    }
    scales[row] = scale.scale;
    std::transform(of_row.begin(), of_row.end(), bytes.data() + row * columns,
                   [&](float value) { return static_cast<std::byte>(scale.round(value)); });
  }
  writer.write_bytes(bytes);
  writer.write(scales);
}

void announce_pooler(const ModelFolderContents& contents, DataType type,
                     std::vector<TensorInfo>& tensors) {
  const int64_t hidden = contents.config.hidden_size;
  for (const auto& [name, values] : contents.pooler) {
    const bool is_bias = static_cast<int64_t>(values.size()) == hidden;
    tensors.push_back({name, type, is_bias ? std::vector{hidden} : std::vector{hidden, hidden}});
  }
}

/// As the reference's torch.save({"model": state_dict}).
std::unique_ptr<WeightWriter> write_torch_weights(const std::filesystem::path& path,
                                                  const ModelFolderContents& contents) {
  std::vector<TensorInfo> tensors;
  for (const ParameterInfo& info : contents.parameters) {
    tensors.push_back({info.name, DataType::f32, info.shape});
  }
  announce_pooler(contents, DataType::f32, tensors);
  auto writer = make_torch_writer(path, std::move(tensors), "model");
  contents.store_parameters([&](const ParameterInfo&, std::span<const float> values) {
    writer->write(std::as_bytes(values));
  });
  for (const auto& [name, values] : contents.pooler) {
    writer->write(std::as_bytes(std::span(values)));
  }
  return writer;
}

std::unique_ptr<SafetensorsWriter> write_weights(const std::filesystem::path& path,
                                                 const ModelFolderContents& contents) {
  std::vector<TensorInfo> tensors;
  const DataType usual = contents.type == DataType::i8 ? DataType::f32 : contents.type;
  for (const ParameterInfo& info : contents.parameters) {
    if (becomes_int8(contents, info)) {
      tensors.push_back({info.name, DataType::i8, info.shape});
      tensors.push_back({info.name + "_scale", DataType::f32, {info.shape[0]}});
    } else {
      tensors.push_back({info.name, usual, info.shape});
    }
  }
  announce_pooler(contents, usual, tensors);
  auto writer = std::make_unique<SafetensorsWriter>(path, std::move(tensors));
  size_t stored = 0;
  contents.store_parameters([&](const ParameterInfo& info, std::span<const float> values) {
    if (stored == contents.parameters.size() || info.name != contents.parameters[stored].name) {
      throw Error(ErrorCode::runtime, path.string() + ": " + info.name + " is out of order.");
    }
    ++stored;
    if (becomes_int8(contents, info)) {
      write_int8(info, values, *writer, path.string());
    } else {
      writer->write(values);
    }
  });
  for (const auto& [name, values] : contents.pooler) {
    writer->write(values);
  }
  return writer;
}

}  // namespace

void add_tokenizer_files(AtomicFiles& files, const std::filesystem::path& path,
                         const BertConfig& config, const std::filesystem::path& vocabulary,
                         bool lower_case, Existing existing) {
  const auto add = [&](const char* name, std::string_view text) {
    const bool stays = existing == Existing::stays && is_there(path / name);
    if (!stays) files.add(path / name, text);
  };
  std::error_code ignored;
  if (!std::filesystem::equivalent(vocabulary, path / "vocab.txt", ignored)) {
    add("vocab.txt", read_vocabulary(vocabulary));
  }
  add("tokenizer_config.json", json_text(tokenizer_config(config, lower_case)));
  add("special_tokens_map.json", json_text(special_tokens()));
}

void write_model_folder(const std::filesystem::path& path, const ModelFolderContents& contents,
                        ModelForm form) {
  AtomicFiles files;
  const std::string config = contents.config.to_json();
  add_tokenizer_files(files, path, contents.config, contents.vocabulary, contents.lower_case);
  if (form == ModelForm::reference) files.add(path / "bert_config.json", config);
  files.add(path / "config.json", config);  // last: now it is a model folder
  const auto put_in_place = [&](auto& weights) {
    weights.finish();
    weights.commit();
    files.commit();
  };
  if (form == ModelForm::reference) {
    put_in_place(*write_torch_weights(path / "pytorch_model.bin", contents));
  } else {
    put_in_place(*write_weights(path / "model.safetensors", contents));
  }
}

}  // namespace bertrand
