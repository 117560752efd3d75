#include "predict/model_tokenizer.h"

#include <string>
#include <utility>

#include <spdlog/spdlog.h>

#include "base/error.h"
#include "checkpoint/vocabulary_file.h"

namespace bertrand {
namespace {

void check_size(const std::filesystem::path& path, const Vocabulary& vocabulary,
                const BertConfig& config) {
  const auto embedded = static_cast<size_t>(config.vocab_size);
  if (vocabulary.size() > embedded) {
    throw Error(ErrorCode::bad_input,
                path.string() + ": has " + std::to_string(vocabulary.size()) +
                    " pieces, but the model embeds " + std::to_string(embedded) +
                    " (vocab_size); give the vocabulary the model was trained with.");
  }
}

void check(const ModelFolder& folder, const Vocabulary& vocabulary) {
  check_size(folder.vocabulary_path(), vocabulary, folder.config());
  if (folder.config().type_vocab_size < 2) {
    throw Error(ErrorCode::bad_input,
                folder.path().string() +
                    ": type_vocab_size is below 2, so question and context cannot be told "
                    "apart; give a BERT with two segments.");
  }
}

Vocabulary load(const std::filesystem::path& path) {
  return path.extension() == ".json" ? Vocabulary::parse(read_vocabulary(path), path.string())
                                     : Vocabulary::load(path);
}

bool chosen_case(const ModelFolder& folder, std::optional<bool> lower_case) {
  if (lower_case) return *lower_case;
  if (folder.lower_case()) return *folder.lower_case();
  spdlog::warn(
      "{}: nothing there (tokenizer_config.json) says whether the model is cased; taking it as "
      "uncased. Give --cased or --uncased.",
      folder.path().string());
  return true;
}

}  // namespace

std::shared_ptr<const Vocabulary> open_vocabulary(const std::filesystem::path& path) {
  return std::make_shared<const Vocabulary>(load(path));
}

std::shared_ptr<const Vocabulary> load_vocabulary(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) {
    const std::filesystem::path folder = path.parent_path();
    throw Error(ErrorCode::bad_input,
                (folder.empty() ? "." : folder.string()) + ": holds no " +
                    path.filename().string() +
                    "; put the vocabulary there that the model was trained with (vocab.txt, or "
                    "tokenizer.json).");
  }
  return open_vocabulary(path);
}

void check_vocabulary(const std::filesystem::path& path, const BertConfig* config) {
  const Vocabulary vocabulary = load(path);
  if (config != nullptr) check_size(path, vocabulary, *config);
}

ModelTokenizer load_tokenizer(const ModelFolder& folder, std::optional<bool> lower_case) {
  auto vocabulary = load_vocabulary(folder.vocabulary_path());
  check(folder, *vocabulary);
  TokenizerOptions options;
  options.lower_case = chosen_case(folder, lower_case);
  options.behaviour = TokenizerOptions::Behaviour::reference;
  return {Tokenizer(std::move(vocabulary), options), options.lower_case};
}

}  // namespace bertrand
