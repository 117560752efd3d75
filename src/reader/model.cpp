#include "reader/model.h"

#include <string>

#include "base/error.h"
#include "engine/cpu/cpu_engine.h"

namespace bertrand {
namespace {

void check(const ModelFolder& folder, const Vocabulary& vocabulary) {
  const std::string where = folder.path().string();
  if (folder.lacks_head()) {
    throw Error(ErrorCode::bad_input,
                where +
                    ": has no span head (qa_outputs), so it cannot answer questions yet; "
                    "fine-tune it with bertrand train.");
  }
  const auto embedded = static_cast<size_t>(folder.config().vocab_size);
  if (vocabulary.size() > embedded) {
    throw Error(ErrorCode::bad_input,
                folder.vocabulary_path().string() + ": has " + std::to_string(vocabulary.size()) +
                    " pieces, but the model embeds " + std::to_string(embedded) +
                    " (vocab_size); give the vocabulary the model was trained with.");
  }
  if (folder.config().type_vocab_size < 2) {
    throw Error(ErrorCode::bad_input,
                where +
                    ": type_vocab_size is below 2, so question and context cannot be told "
                    "apart; give a BERT with two segments.");
  }
}

}  // namespace

Model Model::load(const std::filesystem::path& path, const ModelOptions& options) {
  const ModelFolder folder = ModelFolder::open(path);
  auto vocabulary = std::make_shared<const Vocabulary>(Vocabulary::load(folder.vocabulary_path()));
  check(folder, *vocabulary);
  TokenizerOptions tokenizer;
  tokenizer.lower_case = options.lower_case.value_or(folder.lower_case().value_or(true));
  tokenizer.behaviour = TokenizerOptions::Behaviour::reference;
  Model model;
  model.notes_ = folder.notes();
  model.tokenizer_ = std::make_unique<const Tokenizer>(std::move(vocabulary), tokenizer);
  model.engine_ = make_cpu_engine(folder.config(), {options.threads, options.precision});
  model.engine_->load_parameters(folder.parameters(/*seed=*/0));
  return model;
}

}  // namespace bertrand
