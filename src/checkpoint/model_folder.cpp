#include "checkpoint/model_folder.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/safetensors.h"
#include "model/initial_parameters.h"

namespace bertrand {
namespace {

constexpr std::string_view kPrefix = "bert.";
constexpr std::string_view kHead = "qa_outputs.";
constexpr std::array<std::string_view, 2> kPooler = {"bert.pooler.dense.weight",
                                                     "bert.pooler.dense.bias"};

bool replace_ending(std::string& text, std::string_view old, std::string_view fresh) {
  if (!text.ends_with(old)) {
    return false;
  }
  text.replace(text.size() - old.size(), old.size(), fresh);
  return true;
}

/// The name a tensor has today: the encoder's begin with "bert.", LayerNorm has weight and bias
/// (in the first releases gamma and beta).
std::string today(std::string_view stored) {
  std::string name(stored);
  replace_ending(name, "LayerNorm.gamma", "LayerNorm.weight") ||
      replace_ending(name, "LayerNorm.beta", "LayerNorm.bias");
  for (const std::string_view part : {"embeddings.", "encoder.", "pooler."}) {
    if (name.starts_with(part)) {
      return std::string(kPrefix) + name;
    }
  }
  return name;
}

/// Tensors of BERT's other heads, and buffers: of no use here, and no sign of a wrong file.
bool is_known_extra(std::string_view name) {
  return name.starts_with("bert.pooler.") || name.starts_with("cls.") ||
         name.starts_with("classifier.") || name == "bert.embeddings.position_ids" ||
         name == "bert.embeddings.token_type_ids";
}

std::filesystem::path config_path(const std::filesystem::path& folder) {
  for (const char* name : {"config.json", "bert_config.json"}) {
    if (std::filesystem::exists(folder / name)) {
      return folder / name;
    }
  }
  throw Error(ErrorCode::io, folder.string() +
                                 ": holds neither config.json nor bert_config.json; a model is a "
                                 "folder with one of them, vocab.txt and model.safetensors.");
}

std::optional<bool> read_lower_case(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) {
    return std::nullopt;
  }
  const auto config = nlohmann::json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) {
    throw Error(ErrorCode::bad_input, path.string() + ": is not one valid JSON object.");
  }
  const auto field = config.find("do_lower_case");
  if (field == config.end() || field->is_null()) {
    return std::nullopt;
  }
  if (!field->is_boolean()) {
    throw Error(ErrorCode::bad_input, path.string() + ": \"do_lower_case\" must be true or false.");
  }
  return field->get<bool>();
}

std::string shape_text(const std::vector<int64_t>& shape) { return nlohmann::json(shape).dump(); }

}  // namespace

ModelFolder ModelFolder::open(const std::filesystem::path& path) {
  ModelFolder folder;
  folder.path_ = path;
  const std::filesystem::path config = config_path(path);
  folder.config_ = BertConfig::from_json(read_file(config), config.string());
  folder.lower_case_ = read_lower_case(path / "tokenizer_config.json");
  const std::filesystem::path weights = path / "model.safetensors";
  folder.tensors_ = std::make_shared<SafetensorsFile>(SafetensorsFile::open(weights));

  std::map<std::string, const TensorView*> stored;
  std::vector<std::string> faults;
  for (const TensorView& tensor : folder.tensors_->tensors()) {
    const auto [place, fresh] = stored.emplace(today(tensor.name), &tensor);
    if (!fresh) {
      faults.push_back(place->first + " is there twice, as " + place->second->name + " and as " +
                       tensor.name);
    }
  }
  folder.lacks_head_ = std::none_of(stored.begin(), stored.end(), [](const auto& tensor) {
    return tensor.first.starts_with(kHead);
  });
  for (const ParameterInfo& info : bert_parameters(folder.config_)) {
    const auto found = stored.find(info.name);
    if (found == stored.end()) {
      if (!folder.lacks_head_ || !info.name.starts_with(kHead)) {
        faults.push_back(info.name + " is missing");
      }
      continue;
    }
    const TensorView& tensor = *found->second;
    if (tensor.shape != info.shape) {
      faults.push_back(info.name + " has the shape " + shape_text(tensor.shape) + ", not " +
                       shape_text(info.shape));
    }
    folder.stored_names_.emplace(info.name, tensor.name);
    stored.erase(found);
  }
  for (const auto& [name, tensor] : stored) {
    folder.extra_.push_back(tensor->name);
    if (!is_known_extra(name)) {
      faults.push_back(tensor->name + " is not part of the model");
    }
  }
  if (!faults.empty()) {
    std::string text = weights.string() + ": does not agree with " + config.filename().string();
    for (const std::string& fault : faults) {
      text += "\n  " + fault;
    }
    throw Error(ErrorCode::bad_input, text);
  }
  return folder;
}

ParameterReader ModelFolder::parameters(uint64_t seed) const {
  return [this, initial = initial_parameters(config_, seed)](const ParameterInfo& info,
                                                             std::span<float> values) {
    const auto stored = stored_names_.find(info.name);
    if (stored == stored_names_.end()) {
      return initial(info, values);
    }
    to_f32(*tensors_->find(stored->second), values);
  };
}

std::map<std::string, std::vector<float>> ModelFolder::pooler() const {
  std::map<std::string, std::vector<float>> values;
  for (const std::string& stored : extra_) {
    const std::string name = today(stored);
    if (std::find(kPooler.begin(), kPooler.end(), name) != kPooler.end()) {
      const TensorView& tensor = *tensors_->find(stored);
      auto& converted = values[name];
      converted.resize(static_cast<size_t>(tensor.size()));
      to_f32(tensor, converted);
    }
  }
  return values;
}

}  // namespace bertrand
