#include "checkpoint/old_model.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/files.h"
#include "base/small_json.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/vocabulary_file.h"

namespace bertrand {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kVocabulary = "vocab.txt";
constexpr std::string_view kTokenizer = "tokenizer_config.json";
constexpr std::string_view kIndex = ".index.json";

constexpr std::array<std::string_view, 2> kConfigs = {"config.json", "bert_config.json"};

/// What transformers reads a tokenizer from; tokenizer.json before all others.
constexpr std::array<std::string_view, 5> kTokenizers = {
    kVocabulary, kTokenizer, "tokenizer.json", "added_tokens.json", "special_tokens_map.json"};
constexpr std::array<std::string_view, 5> kWeights = {
    "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
    "pytorch_model.bin.index.json", "model.onnx"};

bool says_the_same(const fs::path& path, const BertConfig& config) {
  try {
    const BertConfig old = BertConfig::from_json(read_description(path), path.string());
    return old.to_json() == config.to_json();
  } catch (const Error&) {  // of another kind of model, or damaged
    return false;
  }
}

bool tokenizes_the_same(const fs::path& folder, const NewModel& fresh) {
  if (fresh.vocabulary.empty() || !is_there(folder / kVocabulary)) return false;
  try {
    const MappedFile old(folder / kVocabulary);
    const bool same_case = !is_there(folder / kTokenizer) ||
                           configured_lower_case(folder).value_or(true) == fresh.lower_case;
    return same_case && old.text() == read_vocabulary(fresh.vocabulary);
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

OldModel OldModel::look(const fs::path& folder, const NewModel& fresh) {
  OldModel old;
  const auto add = [&](std::string_view name) {
    if (is_there(folder / name)) old.in_the_way.emplace_back(name);
  };
  for (const std::string_view name : kConfigs) {
    if (!is_there(folder / name)) continue;
    const bool same = says_the_same(folder / name, fresh.config);
    old.same_config = same && (old.same_config || old.in_the_way.empty());
    if (!same) add(name);
  }
  for (const std::string_view name : kWeights) {
    const bool is_replaced = name == fresh.weights || name == fresh.weights + std::string(kIndex);
    if (is_replaced || !old.same_config) add(name);
  }
  old.same_tokenizer = tokenizes_the_same(folder, fresh);
  const bool may_fit = fresh.vocabulary.empty() && old.same_config;
  for (const std::string_view name : kTokenizers) {
    if (!old.same_tokenizer && !may_fit) add(name);
  }
  return old;
}

bool is_file_of(const Checkpoint& checkpoint, const fs::path& path) {
  const auto files = checkpoint.files();
  return std::any_of(files.begin(), files.end(), [&](const Checkpoint::File& file) {
    std::error_code ignored;
    return fs::equivalent(file.path, path, ignored);
  });
}

void remove_old_files(const fs::path& folder, const std::vector<std::string>& names,
                      const Checkpoint& source) {
  const auto remove = [&](const fs::path& path) {
    if (is_file_of(source, path)) return;
    std::error_code error;
    fs::remove(path, error);
    if (error) {
      throw Error(ErrorCode::io, path.string() + ": cannot be removed (" + error.message() + ").");
    }
  };
  for (const std::string& name : names) {
    const fs::path path = folder / name;
    std::vector<Checkpoint::File> parts;
    if (name.ends_with(kIndex)) {
      try {
        parts = open_checkpoint(path)->files();
      } catch (const Error&) {  // damaged: its parts are not known, and nobody reads them
      }
    }
    remove(path);
    for (const Checkpoint::File& part : parts) remove(part.path);
  }
}

}  // namespace bertrand
