#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "checkpoint/bert_weights.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/tensor.h"
#include "model/config.h"
#include "model/parameters.h"

namespace bertrand {

/// A model whose parts lie anywhere.
struct ModelFiles {
  std::filesystem::path weights;  ///< a checkpoint of any kind, or the folder it lies in
  std::filesystem::path config;
  std::filesystem::path vocabulary;
};

/// A folder with config.json or bert_config.json, vocab.txt and the weights, opened for reading:
/// model.safetensors or pytorch_model.bin, either of them also in several files with an index.
class ModelFolder {
 public:
  /// Opens the weights and checks every tensor against the config. Names may be those of any
  /// dialect (see names.h). Throws one Error (bad_input) that names every tensor that
  /// is missing, mis-shaped, of whole numbers or unheard of; a missing qa_outputs is no error (see
  /// lacks_head).
  static ModelFolder open(const std::filesystem::path& path);

  /// The same of parts that need not lie in one folder; path() is that of the weights. Tensors that
  /// are no part of the model are told in notes() and left out, as the reference does.
  static ModelFolder open(const ModelFiles& files);

  const std::filesystem::path& path() const { return path_; }
  const BertConfig& config() const { return config_; }
  const std::filesystem::path& vocabulary_path() const { return vocabulary_; }

  /// do_lower_case of tokenizer_config.json; empty where it does not say.
  std::optional<bool> lower_case() const { return lower_case_; }

  /// The folder has no span head: parameters() fills qa_outputs from `seed` (normal,
  /// initializer_range; bias 0).
  bool lacks_head() const { return lacks_head_; }

  /// Tensors of the file that are not part of the model, by their names there: the pooler, the
  /// heads of pre-training and classification, the table of positions.
  const std::vector<std::string>& extra_tensors() const { return extra_; }

  /// What was changed to fit the config: rows cut; a line each.
  const std::vector<std::string>& notes() const { return notes_; }

  /// Reads parameters, converted to f32; keeps the weights open by itself.
  ParameterReader parameters(uint64_t seed) const;

  /// The same where they are stored; what it finds may be read as long as the file is not written
  /// to in place (a new file in its stead does no harm).
  ParameterStore stored_parameters(uint64_t seed) const;

  /// "bert.pooler.dense.weight" [hidden, hidden] and ".bias" [hidden], converted to f32; empty
  /// where the folder has none.
  std::map<std::string, std::vector<float>> pooler() const;
  bool has_pooler() const;

 private:
  void match(const std::filesystem::path& weights, const std::filesystem::path& config,
             bool all_known);

  std::filesystem::path path_;
  std::filesystem::path vocabulary_;
  BertConfig config_;
  std::optional<bool> lower_case_;
  bool lacks_head_ = false;
  std::vector<std::string> extra_;
  std::vector<std::string> notes_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  std::map<std::string, Weight> stored_;  // parameters and pooler, by name
};

/// do_lower_case of the tokenizer_config.json in `folder`; empty where it does not say, is null, or
/// there is no such file. Throws Error (bad_input) naming the file.
std::optional<bool> configured_lower_case(const std::filesystem::path& folder);

/// What a model folder is made of, for writing.
struct ModelFolderContents {
  BertConfig config;
  std::filesystem::path vocabulary;  ///< copied as vocab.txt
  bool lower_case = true;
  /// Of the weights in the file: f32, f16 or bf16; or i8: matrices of more than two rows as
  /// 8-bit numbers with a factor for each row in "<name>_scale", everything else f32.
  DataType type = DataType::f32;
  std::vector<ParameterInfo> parameters;
  /// Calls the writer with every parameter in order (Engine::store_parameters fits).
  std::function<void(const ParameterWriter&)> store_parameters;
  std::map<std::string, std::vector<float>> pooler;  ///< as from ModelFolder::pooler, or empty
};

/// What becomes of a file that is there already.
enum class Existing { is_replaced, stays };

/// Adds vocab.txt (a copy of `vocabulary`), tokenizer_config.json and special_tokens_map.json in
/// the existing folder `path` to the files that are to appear there.
void add_tokenizer_files(AtomicFiles& files, const std::filesystem::path& path,
                         const BertConfig& config, const std::filesystem::path& vocabulary,
                         bool lower_case, Existing existing = Existing::is_replaced);

/// config.json or bert_config.json of a folder; empty where it has neither.
std::filesystem::path find_config(const std::filesystem::path& folder);

/// Where the weights of a model folder are.
enum class ModelForm {
  transformers,  ///< model.safetensors; transformers loads the folder
  reference,  ///< pytorch_model.bin, F32, the state dictionary under "model", and bert_config.json
};

/// Writes config.json, vocab.txt, tokenizer_config.json, special_tokens_map.json and the weights
/// into the existing folder `path`, each whole or not at all. All are on the disk before the first
/// takes the place of an old one.
void write_model_folder(const std::filesystem::path& path, const ModelFolderContents& contents,
                        ModelForm form = ModelForm::transformers);

}  // namespace bertrand
