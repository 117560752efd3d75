#include "checkpoint/inspect.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/small_json.h"
#include "checkpoint/bert_weights.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/vocabulary_file.h"
#include "model/parameters.h"

namespace bertrand {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBlock = 1 << 16;  // elements looked at once

/// Values of a part of a tensor that are NaN or infinite.
size_t count_not_finite(const TensorInfo& info, std::span<const std::byte> bytes) {
  if (!is_floating_point(info.type)) return 0;
  const size_t width = size_of(info.type);
  std::vector<float> values;
  size_t count = 0;
  for (size_t begin = 0; begin < bytes.size(); begin += kBlock * width) {
    const auto block = bytes.subspan(begin, std::min(kBlock * width, bytes.size() - begin));
    values.resize(block.size() / width);
    to_f32({info.name, info.type, {static_cast<int64_t>(values.size())}, block}, values);
    count += static_cast<size_t>(std::count_if(values.begin(), values.end(),
                                               [](float value) { return !std::isfinite(value); }));
  }
  return count;
}

void check_values(const Checkpoint& checkpoint, Findings& problems) {
  const auto& tensors = checkpoint.tensors();
  for (size_t i = 0; i < tensors.size(); ++i) {
    try {
      size_t count = 0;
      checkpoint.read_parts(
          i, [&](std::span<const std::byte> part) { count += count_not_finite(tensors[i], part); });
      if (count > 0) {
        problems.add(fmt::format("{}: {} of {} values are not finite.", printable(tensors[i].name),
                                 count, tensors[i].size()));
      }
    } catch (const Error& error) {
      problems.add(error.what());
    }
    checkpoint.release();
  }
}

/// Whether `weights` are all the weights that the config in `folder` is about: what a model is read
/// from there, or a checkpoint that has the config to itself.
bool is_model_of(const fs::path& folder, const Checkpoint& weights) {
  const fs::path first = find_weights(folder);
  const auto files = weights.files();
  return first.empty() || std::any_of(files.begin(), files.end(), [&](const auto& file) {
           std::error_code ignored;
           return fs::equivalent(file.path, first, ignored);
         });
}

/// What else a file holds than the weights of the folder it lies in.
void match_part(const BertWeights& found, Inspection& result) {
  const size_t all = bert_parameters(*result.config).size();
  result.notes.add(
      fmt::format("{} of the {} parameters that {} describes are in this file, which is not "
                  "the one a model is read from there.",
                  found.parameters.size(), all, result.config_path.string()));
}

void match(bool is_whole, Inspection& result) {
  const BertWeights found = match_weights(*result.weights, *result.config);
  result.has_span_head = found.has_span_head;
  if (!is_whole) match_part(found, result);
  if (!is_whole && found.parameters.empty()) return;
  for (const std::string& note : found.notes) result.notes.add(note + ".");
  if (is_whole && !found.has_span_head) {
    result.notes.add("There is no span head (qa_outputs); fine-tune it to ask it.");
  }
  for (const std::string& name : found.unknown) {
    result.notes.add(printable(name) + " has no place in a BERT.");
  }
  if (is_whole && !found.of_no_bert.empty()) {
    result.problems.add("This is not the model of the config: " + found.of_no_bert + ".");
  } else if (is_whole) {
    for (const std::string& name : found.missing) result.problems.add(name + " is missing.");
  }
  for (const auto* faults : {&found.faults, &found.head_faults}) {
    for (const std::string& fault : *faults) result.problems.add(fault + ".");
  }
}

void read_config(const fs::path& folder, Inspection& result) {
  result.config_path = find_config(folder);
  if (!result.config_path.empty()) {
    try {
      result.config =
          BertConfig::from_json(read_description(result.config_path), result.config_path.string());
      match(!result.folder.empty() || is_model_of(folder, *result.weights), result);
    } catch (const Error& error) {
      result.problems.add(error.what());
    }
  } else if (!result.folder.empty()) {
    result.problems.add(folder.string() +
                        ": holds neither config.json nor bert_config.json; "
                        "copy the one of these weights there.");
  }
}

void read_training(const fs::path& path, Inspection& result) {
  if (!is_there(path)) return;
  try {
    result.training = read_json_object(path, "no run can be resumed from it").dump();
  } catch (const Error& error) {
    result.problems.add(error.what());
  }
}

void open_optimizer(const fs::path& path, Inspection& result) {
  if (!is_there(path)) return;
  try {
    result.optimizer = open_checkpoint(path);
    result.files.push_back(result.optimizer->files().front());
  } catch (const Error& error) {
    result.problems.add(error.what());
  }
}

/// The snapshot in the folder of a run that holds no weights yet; else `path`.
fs::path where_weights_are(const fs::path& path, Findings& notes) {
  std::error_code ignored;
  fs::path snapshot = path / "snapshot";
  if (!fs::is_directory(path, ignored) || !find_weights(path).empty() ||
      !is_there(snapshot / "training.json")) {
    return path;
  }
  notes.add(path.string() + ": the run is not complete; this is its snapshot.");
  return snapshot;
}

}  // namespace

Inspection inspect(const fs::path& given, bool check) {
  Inspection result;
  const fs::path path = where_weights_are(given, result.notes);
  result.weights = open_checkpoint(path);
  result.files = result.weights->files();
  for (std::string& note : result.weights->notes()) result.notes.add(std::move(note));
  for (std::string& problem : result.weights->problems()) result.problems.add(std::move(problem));
  std::error_code ignored;
  const bool is_folder = fs::is_directory(path, ignored);
  if (is_folder) result.folder = path;
  read_config(is_folder ? path : path.has_parent_path() ? path.parent_path() : ".", result);
  if (is_folder) {
    if (const fs::path vocabulary = find_vocabulary(path); !is_there(vocabulary)) {
      result.problems.add(path.string() +
                          ": holds no vocab.txt and no tokenizer.json; copy the model's there.");
    } else if (vocabulary.extension() == ".json") {
      result.notes.add(path.string() +
                       ": has no vocab.txt; its words are those of tokenizer.json.");
    }
    read_training(path / "training.json", result);
    open_optimizer(path / "optimizer.safetensors", result);
  }
  if (check) {
    check_values(*result.weights, result.problems);
    if (result.optimizer) check_values(*result.optimizer, result.problems);
    if (const size_t others = result.weights->others().size(); others > 0) {
      result.notes.add(
          fmt::format("The values of the {} tensors beside the model were not read.", others));
    }
  }
  return result;
}

}  // namespace bertrand
