#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/model_folder.h"
#include "engine/engine.h"
#include "engine/engine_choice.h"
#include "text/tokenizer.h"

namespace bertrand {

struct ModelOptions {
  unsigned threads = 1;
  Precision precision = Precision::fp32;
  EngineChoice engine{};
  std::optional<bool> lower_case;  ///< instead of what the folder says; uncased where neither does
};

/// A model folder with all that answers questions: vocabulary read, weights in an engine.
class Model {
 public:
  /// Throws Error (bad_input) naming the folder and what is wrong in it, also where it has no span
  /// head or its vocabulary is larger than its embeddings.
  static Model load(const std::filesystem::path& path, const ModelOptions& options);
  static Model load(const ModelFolder& folder, const ModelOptions& options);

  const BertConfig& config() const { return engine_->config(); }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  Engine& engine() { return *engine_; }

  /// What it computes in: what was asked for, or what `auto` came to.
  Precision precision() const { return precision_; }

  /// What was changed in the weights to fit the config, and what `auto` came to; a line each.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  Model() = default;

  std::unique_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<Engine> engine_;
  Precision precision_ = Precision::fp32;
  std::vector<std::string> notes_;
};

}  // namespace bertrand
