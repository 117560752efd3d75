#include "checkpoint/model_folder.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/small_json.h"
#include "checkpoint/bert_weights.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/findings.h"
#include "checkpoint/vocabulary_file.h"
#include "model/initial_parameters.h"

namespace bertrand {
namespace {

constexpr std::string_view kPooler = "bert.pooler.";

std::filesystem::path config_path(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder)) {
    throw Error(ErrorCode::io, folder.string() +
                                   ": there is no such folder; a model is a folder "
                                   "with config.json, vocab.txt and the weights "
                                   "(model.safetensors or pytorch_model.bin).");
  }
  if (std::filesystem::path found = find_config(folder); !found.empty()) {
    return found;
  }
  throw Error(ErrorCode::bad_input, folder.string() +
                                        ": holds neither config.json nor bert_config.json, so it "
                                        "is not the folder of a BERT model; give one that "
                                        "is, or copy its config.json there.");
}

std::filesystem::path weights_path(const std::filesystem::path& folder) {
  std::filesystem::path path = find_weights(folder);
  if (path.extension() == ".index") {
    throw Error(ErrorCode::bad_input,
                path.string() + ": is a TensorFlow checkpoint, which must be converted first: " +
                    "bertrand convert " + folder.string() + " NEW-FOLDER.");
  }
  if (path.empty()) {
    throw Error(ErrorCode::bad_input,
                folder.string() +
                    ": holds no model.safetensors and no pytorch_model.bin; weights under other "
                    "names are read by bertrand convert.");
  }
  return path;
}

}  // namespace

std::filesystem::path find_config(const std::filesystem::path& folder) {
  for (const char* name : {"config.json", "bert_config.json"}) {
    if (std::filesystem::exists(folder / name)) {
      return folder / name;
    }
  }
  return {};
}

std::optional<bool> configured_lower_case(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "tokenizer_config.json";
  if (!std::filesystem::exists(path)) {
    return normalizer_lower_case(folder);
  }
  const auto config =
      read_json_object(path, "mend it, or move it away and give --cased or --uncased");
  const auto field = config.find("do_lower_case");
  if (field == config.end() || field->is_null()) {
    return normalizer_lower_case(folder);
  }
  if (!field->is_boolean()) {
    throw Error(ErrorCode::bad_input, path.string() + ": \"do_lower_case\" must be true or false.");
  }
  return field->get<bool>();
}

ModelFolder ModelFolder::open(const std::filesystem::path& path) {
  ModelFolder folder;
  folder.path_ = path;
  folder.vocabulary_ = find_vocabulary(path);
  const std::filesystem::path config = config_path(path);
  folder.config_ = BertConfig::from_json(read_description(config), config.string());
  folder.lower_case_ = configured_lower_case(path);
  folder.match(weights_path(path), config, /*all_known=*/true);
  return folder;
}

ModelFolder ModelFolder::open(const ModelFiles& files) {
  ModelFolder folder;
  folder.path_ = files.weights;
  folder.vocabulary_ = files.vocabulary;
  folder.config_ = BertConfig::from_json(read_description(files.config), files.config.string());
  folder.match(files.weights, files.config, /*all_known=*/false);
  return folder;
}

void ModelFolder::match(const std::filesystem::path& weights, const std::filesystem::path& config,
                        bool all_known) {
  checkpoint_ = open_checkpoint(weights);
  BertWeights found = match_weights(*checkpoint_, config_);
  lacks_head_ = !found.has_span_head;
  notes_ = std::move(found.notes);
  const auto extra = [&](const Weight& weight) {
    extra_.push_back(checkpoint_->tensors()[weight.source].name);
  };
  std::for_each(found.pooler.begin(), found.pooler.end(), extra);
  std::for_each(found.heads.begin(), found.heads.end(), extra);
  extra_.insert(extra_.end(), found.buffers.begin(), found.buffers.end());
  Findings faults;
  for (std::string& fault : found.all_faults()) faults.add(std::move(fault));
  for (const std::string& name : found.unknown) {
    const std::string text = printable(name) + " is not a part of this model";
    if (!found.of_no_bert.empty()) break;
    if (all_known) {
      faults.add(text);
    } else {
      notes_.push_back(text + " and left out");
    }
  }
  if (faults.count() > 0) {
    std::string text = weights.string() + ": its tensors are not those of the model that " +
                       config.filename().string() + " describes:";
    for (const std::string& fault : faults.lines()) {
      text += "\n  " + fault;
    }
    text += "\nGive weights and a config that belong together.";
    throw Error(ErrorCode::bad_input, text);
  }
  for (std::vector<Weight>* weights_of : {&found.parameters, &found.pooler}) {
    for (Weight& weight : *weights_of) {
      stored_.emplace(weight.info.name, std::move(weight));
    }
  }
}

namespace {

/// The bytes of a weight, in the mapped file or here, and what they mean.
struct OpenedWeight {
  std::shared_ptr<const Checkpoint> checkpoint;  // keeps the file mapped
  TensorInfo info;
  std::vector<std::byte> buffer;
  std::span<const std::byte> bytes;
  std::vector<float> scales;

  void read(size_t first, std::span<float> values) const {
    const auto size = static_cast<size_t>(info.size());
    if (first > size || values.size() > size - first) {
      throw Error(ErrorCode::runtime, "Tensor \"" + info.name + "\" holds " + std::to_string(size) +
                                          " values; " + std::to_string(values.size()) +
                                          " from number " + std::to_string(first) +
                                          " on are asked for.");
    }
    if (scales.empty()) {
      const size_t width = size_of(info.type);
      return widen(info.type, bytes.subspan(first * width, values.size() * width), values);
    }
    const auto columns = static_cast<size_t>(info.shape[1]);
    for (size_t i = 0; i < values.size();) {
      const size_t row = (first + i) / columns;
      const size_t end = std::min(values.size(), (row + 1) * columns - first);
      for (const float scale = scales[row]; i < end; ++i) {
        values[i] = static_cast<float>(static_cast<int8_t>(bytes[first + i])) * scale;
      }
    }
  }
};

StoredParameter open_weight(std::shared_ptr<const Checkpoint> checkpoint, const Weight& weight) {
  const auto opened = std::make_shared<OpenedWeight>();
  opened->info = weight.info;
  opened->bytes = read_weight(*checkpoint, weight, opened->buffer);
  StoredParameter stored;
  if (weight.scale) {
    std::vector<std::byte> buffer;
    opened->scales.resize(static_cast<size_t>(weight.info.shape[0]));
    const auto all = checkpoint->read(*weight.scale, buffer);  // rows may be cut
    widen(DataType::f32, all.first(opened->scales.size() * sizeof(float)), opened->scales);
    stored.int8 = {reinterpret_cast<const int8_t*>(opened->bytes.data()), opened->bytes.size()};
    stored.scales = opened->scales;
  }
  opened->checkpoint = std::move(checkpoint);
  stored.read = [opened](size_t first, std::span<float> values) { opened->read(first, values); };
  return stored;
}

/// One that no file holds.
StoredParameter make_parameter(const ParameterInfo& info, const ParameterReader& initial) {
  const auto all = std::make_shared<std::vector<float>>(static_cast<size_t>(info.size()));
  initial(info, *all);
  StoredParameter stored;
  stored.read = [all](size_t first, std::span<float> values) {
    std::copy_n(all->begin() + static_cast<std::ptrdiff_t>(first), values.size(), values.begin());
  };
  return stored;
}

}  // namespace

ParameterStore ModelFolder::stored_parameters(uint64_t seed) const {
  return [checkpoint = checkpoint_, stored = stored_,
          initial = initial_parameters(config_, seed)](const ParameterInfo& info) {
    const auto found = stored.find(info.name);
    return found == stored.end() ? make_parameter(info, initial)
                                 : open_weight(checkpoint, found->second);
  };
}

ParameterReader ModelFolder::parameters(uint64_t seed) const {
  return read_whole(stored_parameters(seed));
}

std::map<std::string, std::vector<float>> ModelFolder::pooler() const {
  std::map<std::string, std::vector<float>> pooler;
  for (const auto& [name, weight] : stored_) {
    if (name.starts_with(kPooler)) {
      std::vector<float>& values = pooler[name];
      values.resize(static_cast<size_t>(weight.info.size()));
      open_weight(checkpoint_, weight).read(/*first=*/0, values);
    }
  }
  return pooler;
}

bool ModelFolder::has_pooler() const {
  const auto found = stored_.lower_bound(std::string(kPooler));
  return found != stored_.end() && found->first.starts_with(kPooler);
}

}  // namespace bertrand
