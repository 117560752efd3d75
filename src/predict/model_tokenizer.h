#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "checkpoint/model_folder.h"
#include "text/tokenizer.h"

namespace bertrand {

/// The vocabulary in a file that was named: a vocab.txt, or a tokenizer.json. Throws Error: io
/// where there is none, and bad_input.
std::shared_ptr<const Vocabulary> open_vocabulary(const std::filesystem::path& path);

/// The same of a file in a model folder. Throws Error (bad_input), naming the folder, where there
/// is none.
std::shared_ptr<const Vocabulary> load_vocabulary(const std::filesystem::path& path);

/// Throws Error (bad_input), naming file and remedy, where a vocabulary cannot be read, or has more
/// pieces than a model of this config embeds; without a config its size is not looked at.
void check_vocabulary(const std::filesystem::path& path, const BertConfig* config);

/// How a model's words are cut.
struct ModelTokenizer {
  Tokenizer tokenizer;
  bool lower_case = true;
};

/// The tokenizer of a model folder, in the reference's behaviour: `lower_case` where it is given,
/// else as the folder says, else uncased, with a warning. Throws Error (bad_input), naming file and
/// remedy, where vocab.txt is missing, larger than the model's embeddings, or the model has no two
/// segments.
ModelTokenizer load_tokenizer(const ModelFolder& folder, std::optional<bool> lower_case);

}  // namespace bertrand
