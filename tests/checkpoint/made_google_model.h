#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/made_bundle.h"
#include "model/config.h"
#include "model/initial_parameters.h"
#include "model/parameters.h"

namespace bertrand::test {

/// Writes what Google's releases hold into `folder`: bert_model.ckpt (encoder and pooler, no span
/// head), bert_config.json and vocab.txt. The values are those of a new model.
inline void write_google_model(const std::filesystem::path& folder, const BertConfig& config,
                               const std::string& vocabulary) {
  std::filesystem::create_directories(folder);
  std::vector<ParameterInfo> parameters;
  for (const ParameterInfo& info : bert_parameters(config)) {
    if (!info.name.starts_with("qa_outputs.")) parameters.push_back(info);
  }
  const int64_t hidden = config.hidden_size;
  parameters.push_back({"bert.pooler.dense.weight", {hidden, hidden}});
  parameters.push_back({"bert.pooler.dense.bias", {hidden}});
  write_bundle((folder / "bert_model.ckpt").string(), parameters,
               [&](const ParameterInfo& info, size_t at, std::span<float> values) {
                 std::vector<float> all(static_cast<size_t>(info.size()));
                 initial_parameters(config, /*seed=*/5)(info, all);
                 std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(at), values.size(),
                             values.begin());
               });
  std::ofstream(folder / "bert_config.json") << config.to_json();
  std::ofstream(folder / "vocab.txt") << vocabulary;
}

}  // namespace bertrand::test
