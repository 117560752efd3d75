#include "checkpoint/model_folder.h"

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

/// The layer that pre-training puts on top of [CLS]; kept beside the model, not part of it.
std::vector<ParameterInfo> pooler_parameters(const BertConfig& config) {
  return {{"bert.pooler.dense.weight", {config.hidden_size, config.hidden_size}, true},
          {"bert.pooler.dense.bias", {config.hidden_size}, false}};
}

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

bool is_floating_point(DataType type) {
  return type == DataType::f32 || type == DataType::f16 || type == DataType::bf16 ||
         type == DataType::f64;
}

/// A name from the file, as it is fit for a message.
std::string printable(const std::string& name) {
  const std::string text = nlohmann::json(name).dump(/*indent=*/-1, ' ', /*ensure_ascii=*/true);
  return text.substr(1, text.size() - 2);
}

/// Tensors of BERT's other heads, and buffers: of no use here, and no sign of a wrong file.
bool is_known_extra(std::string_view name) {
  return name.starts_with("bert.pooler.") || name.starts_with("cls.") ||
         name.starts_with("classifier.") || name == "bert.embeddings.position_ids" ||
         name == "bert.embeddings.token_type_ids";
}

/// The text of a small file; no more than a file that describes a model can need.
std::string read_small(const std::filesystem::path& path) {
  constexpr size_t kMost = 1 << 20;
  const MappedFile file(path);
  if (file.bytes().size() > kMost) {
    throw Error(ErrorCode::bad_input, path.string() + ": has " +
                                          std::to_string(file.bytes().size()) +
                                          " bytes; a description of a model has less than " +
                                          std::to_string(kMost) + ".");
  }
  return std::string(file.text());
}

std::filesystem::path config_path(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder)) {
    throw Error(ErrorCode::io, folder.string() +
                                   ": there is no such folder; a model is a folder "
                                   "with config.json, vocab.txt and "
                                   "model.safetensors.");
  }
  for (const char* name : {"config.json", "bert_config.json"}) {
    if (std::filesystem::exists(folder / name)) {
      return folder / name;
    }
  }
  throw Error(ErrorCode::bad_input, folder.string() +
                                        ": holds neither config.json nor bert_config.json, so it "
                                        "is not the folder of a BERT model.");
}

std::filesystem::path weights_path(const std::filesystem::path& folder) {
  std::filesystem::path path = folder / "model.safetensors";
  if (!std::filesystem::exists(path)) {
    throw Error(ErrorCode::bad_input, folder.string() +
                                          ": holds no model.safetensors; weights in other formats "
                                          "or in several files must be saved as that one first.");
  }
  return path;
}

/// Finds a model's tensors among those of a file and gathers everything that does not fit.
class Matching {
 public:
  explicit Matching(const TensorFile& file) {
    for (const TensorView& tensor : file.tensors()) {
      const auto [place, fresh] = left_.emplace(today(tensor.name), &tensor);
      if (!fresh) {
        complain(*place->second, "is the same parameter as " + printable(tensor.name));
      }
    }
  }

  bool has_head() const {
    const auto first = left_.lower_bound(kHead);
    return first != left_.end() && first->first.starts_with(kHead);
  }

  /// The tensor of this name, no longer among those left; nullptr where there is none.
  const TensorView* take(const std::string& name, const std::vector<int64_t>& shape) {
    const auto found = left_.find(name);
    if (found == left_.end()) {
      return nullptr;
    }
    const TensorView& tensor = *found->second;
    left_.erase(found);
    if (tensor.shape != shape) {
      complain(tensor, "has the shape " + text(tensor.shape) + " and should have " + text(shape));
    }
    if (!is_floating_point(tensor.type)) {
      complain(tensor,
               "holds " + std::string(name_of(tensor.type)) + " and should hold F32, F16 or BF16");
    }
    return &tensor;
  }

  void miss(const std::string& name) { faults_.push_back(name + " is missing"); }

  /// The names of the tensors not taken; those unheard of count as faults.
  std::vector<std::string> finish() {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : left_) {
      names.push_back(tensor->name);
      if (!is_known_extra(name)) {
        complain(*tensor, "is not a part of this model");
      }
    }
    return names;
  }

  const std::vector<std::string>& faults() const { return faults_; }

 private:
  void complain(const TensorView& tensor, const std::string& what) {
    faults_.push_back(printable(tensor.name) + " " + what);
  }
  static std::string text(const std::vector<int64_t>& shape) {
    return nlohmann::json(shape).dump();
  }

  std::map<std::string, const TensorView*, std::less<>> left_;  // by the name it has today
  std::vector<std::string> faults_;
};

}  // namespace

std::optional<bool> configured_lower_case(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "tokenizer_config.json";
  if (!std::filesystem::exists(path)) {
    return std::nullopt;
  }
  const auto config = nlohmann::json::parse(read_small(path), nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) {
    throw Error(ErrorCode::bad_input, path.string() +
                                          ": is not one valid JSON object; mend it, or move it "
                                          "away and give --cased or --uncased.");
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

ModelFolder ModelFolder::open(const std::filesystem::path& path) {
  ModelFolder folder;
  folder.path_ = path;
  const std::filesystem::path config = config_path(path);
  folder.config_ = BertConfig::from_json(read_small(config), config.string());
  folder.lower_case_ = configured_lower_case(path);
  const std::filesystem::path weights = weights_path(path);
  folder.tensors_ = std::make_shared<SafetensorsFile>(SafetensorsFile::open(weights));

  Matching matching(*folder.tensors_);
  folder.lacks_head_ = !matching.has_head();
  for (const ParameterInfo& info : bert_parameters(folder.config_)) {
    if (const TensorView* tensor = matching.take(info.name, info.shape)) {
      folder.stored_.emplace(info.name, *tensor);
    } else if (!folder.lacks_head_ || !info.name.starts_with(kHead)) {
      matching.miss(info.name);
    }
  }
  for (const ParameterInfo& info : pooler_parameters(folder.config_)) {
    if (const TensorView* tensor = matching.take(info.name, info.shape)) {
      folder.stored_.emplace(info.name, *tensor);
      folder.extra_.push_back(tensor->name);
    }
  }
  const std::vector<std::string> left = matching.finish();
  folder.extra_.insert(folder.extra_.end(), left.begin(), left.end());
  if (!matching.faults().empty()) {
    std::string text = weights.string() + ": its tensors are not those of the model that " +
                       config.filename().string() + " describes:";
    for (const std::string& fault : matching.faults()) {
      text += "\n  " + fault;
    }
    throw Error(ErrorCode::bad_input, text);
  }
  return folder;
}

ParameterReader ModelFolder::parameters(uint64_t seed) const {
  return [tensors = tensors_, stored = stored_, initial = initial_parameters(config_, seed)](
             const ParameterInfo& info, std::span<float> values) {
    const auto found = stored.find(info.name);
    if (found == stored.end()) {
      return initial(info, values);
    }
    to_f32(found->second, values);
  };
}

std::map<std::string, std::vector<float>> ModelFolder::pooler() const {
  std::map<std::string, std::vector<float>> pooler;
  for (const ParameterInfo& info : pooler_parameters(config_)) {
    if (const auto found = stored_.find(info.name); found != stored_.end()) {
      std::vector<float>& values = pooler[info.name];
      values.resize(static_cast<size_t>(info.size()));
      to_f32(found->second, values);
    }
  }
  return pooler;
}

}  // namespace bertrand
