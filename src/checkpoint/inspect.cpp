#include "checkpoint/inspect.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/small_json.h"
#include "checkpoint/bert_weights.h"
#include "checkpoint/model_folder.h"

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

void check_values(const Checkpoint& checkpoint, std::vector<std::string>& problems) {
  const auto& tensors = checkpoint.tensors();
  for (size_t i = 0; i < tensors.size(); ++i) {
    try {
      size_t count = 0;
      checkpoint.read_parts(
          i, [&](std::span<const std::byte> part) { count += count_not_finite(tensors[i], part); });
      if (count > 0) {
        problems.push_back(fmt::format("{}: {} of {} values are not finite.",
                                       printable(tensors[i].name), count, tensors[i].size()));
      }
    } catch (const Error& error) {
      problems.emplace_back(error.what());
    }
    checkpoint.release();
  }
}

void match(const Checkpoint& checkpoint, Inspection& result) {
  const BertWeights weights = match_weights(checkpoint, *result.config);
  result.has_span_head = weights.has_span_head;
  for (const std::string& note : weights.notes) result.notes.push_back(note + ".");
  if (!weights.has_span_head) {
    result.notes.emplace_back("There is no span head (qa_outputs); fine-tune it to ask it.");
  }
  for (const std::string& name : weights.unknown) {
    result.notes.push_back(printable(name) + " has no place in a BERT.");
  }
  for (const std::string& fault : weights.faults) result.problems.push_back(fault + ".");
}

void read_training(const fs::path& path, Inspection& result) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return;
  try {
    result.training = read_json_object(path, "resume from another snapshot").dump();
  } catch (const Error& error) {
    result.problems.emplace_back(error.what());
  }
}

}  // namespace

Inspection inspect(const fs::path& path, bool check) {
  Inspection result;
  const auto checkpoint = open_checkpoint(path);
  result.kind = checkpoint->kind();
  result.files = checkpoint->files();
  result.tensors = checkpoint->tensors();
  result.others = checkpoint->others();
  result.problems = checkpoint->problems();
  std::error_code ignored;
  const bool is_folder = fs::is_directory(path, ignored);
  const fs::path folder = is_folder ? path : path.has_parent_path() ? path.parent_path() : ".";
  result.config_path = find_config(folder);
  if (!result.config_path.empty()) {
    try {
      result.config =
          BertConfig::from_json(read_description(result.config_path), result.config_path.string());
      match(*checkpoint, result);
    } catch (const Error& error) {
      result.problems.emplace_back(error.what());
    }
  } else if (is_folder) {
    result.problems.push_back(path.string() +
                              ": holds neither config.json nor bert_config.json; "
                              "copy the one of these weights there.");
  }
  if (is_folder && !fs::exists(path / "vocab.txt", ignored)) {
    result.problems.push_back(path.string() + ": holds no vocab.txt; copy the model's there.");
  }
  if (is_folder) {
    read_training(path / "training.json", result);
    if (const fs::path moments = path / "optimizer.safetensors"; fs::exists(moments, ignored)) {
      const auto optimizer = open_checkpoint(moments);
      const auto& more = optimizer->tensors();
      result.others.insert(result.others.end(), more.begin(), more.end());
      result.files.push_back(optimizer->files().front());
    }
  }
  if (check) check_values(*checkpoint, result.problems);
  return result;
}

}  // namespace bertrand
