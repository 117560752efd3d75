#include "checkpoint/names.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <span>

namespace bertrand {
namespace {

/// A module as a dialect calls it, and in Hugging Face's way; # is a layer's number.
struct Module {
  std::string_view stored;
  std::string_view ours;
};

/// What follows a module's name.
struct Ending {
  std::string_view stored;
  std::string_view ours;
  bool transposed = false;
};

struct Dialect {
  std::span<const Module> modules;
  std::span<const Ending> endings;
};

/// Google, github.com/google-research/bert, modeling.py, run_squad.py, run_classifier.py.
constexpr std::array kGoogleModules = {
    Module{"bert/embeddings/word_embeddings", "bert.embeddings.word_embeddings"},
    Module{"bert/embeddings/position_embeddings", "bert.embeddings.position_embeddings"},
    Module{"bert/embeddings/token_type_embeddings", "bert.embeddings.token_type_embeddings"},
    Module{"bert/embeddings/LayerNorm", "bert.embeddings.LayerNorm"},
    Module{"bert/encoder/layer_#/attention/self/query",
           "bert.encoder.layer.#.attention.self.query"},
    Module{"bert/encoder/layer_#/attention/self/key", "bert.encoder.layer.#.attention.self.key"},
    Module{"bert/encoder/layer_#/attention/self/value",
           "bert.encoder.layer.#.attention.self.value"},
    Module{"bert/encoder/layer_#/attention/output/dense",
           "bert.encoder.layer.#.attention.output.dense"},
    Module{"bert/encoder/layer_#/attention/output/LayerNorm",
           "bert.encoder.layer.#.attention.output.LayerNorm"},
    Module{"bert/encoder/layer_#/intermediate/dense", "bert.encoder.layer.#.intermediate.dense"},
    Module{"bert/encoder/layer_#/output/dense", "bert.encoder.layer.#.output.dense"},
    Module{"bert/encoder/layer_#/output/LayerNorm", "bert.encoder.layer.#.output.LayerNorm"},
    Module{"bert/pooler/dense", "bert.pooler.dense"},
    Module{"cls/predictions/transform/dense", "cls.predictions.transform.dense"},
    Module{"cls/predictions/transform/LayerNorm", "cls.predictions.transform.LayerNorm"},
    Module{"cls/predictions", "cls.predictions"},
    Module{"cls/seq_relationship", "cls.seq_relationship"},
    Module{"cls/squad", "qa_outputs"},
    Module{"output", "classifier"}};
constexpr std::array kGoogleEndings = {Ending{"", ".weight"},  // of the tables of embeddings
                                       Ending{"/kernel", ".weight", /*transposed=*/true},
                                       Ending{"/bias", ".bias"},
                                       Ending{"/gamma", ".weight"},
                                       Ending{"/beta", ".bias"},
                                       Ending{"/output_weights", ".weight"},
                                       Ending{"/output_bias", ".bias"},
                                       Ending{"_weights", ".weight"},
                                       Ending{"_bias", ".bias"}};

/// Hugging Face, transformers, models/bert/modeling_bert.py; before the first dot "bert." is
/// supplied where it lacks. NVIDIA, DeepLearningExamples, PyTorch/LanguageModeling/BERT,
/// modeling.py: dense_act.
constexpr std::array kTorchModules = {
    Module{"bert.embeddings.word_embeddings", "bert.embeddings.word_embeddings"},
    Module{"bert.embeddings.position_embeddings", "bert.embeddings.position_embeddings"},
    Module{"bert.embeddings.token_type_embeddings", "bert.embeddings.token_type_embeddings"},
    Module{"bert.embeddings.LayerNorm", "bert.embeddings.LayerNorm"},
    Module{"bert.encoder.layer.#.attention.self.query",
           "bert.encoder.layer.#.attention.self.query"},
    Module{"bert.encoder.layer.#.attention.self.key", "bert.encoder.layer.#.attention.self.key"},
    Module{"bert.encoder.layer.#.attention.self.value",
           "bert.encoder.layer.#.attention.self.value"},
    Module{"bert.encoder.layer.#.attention.output.dense",
           "bert.encoder.layer.#.attention.output.dense"},
    Module{"bert.encoder.layer.#.attention.output.LayerNorm",
           "bert.encoder.layer.#.attention.output.LayerNorm"},
    Module{"bert.encoder.layer.#.intermediate.dense", "bert.encoder.layer.#.intermediate.dense"},
    Module{"bert.encoder.layer.#.intermediate.dense_act",
           "bert.encoder.layer.#.intermediate.dense"},
    Module{"bert.encoder.layer.#.output.dense", "bert.encoder.layer.#.output.dense"},
    Module{"bert.encoder.layer.#.output.LayerNorm", "bert.encoder.layer.#.output.LayerNorm"},
    Module{"bert.pooler.dense", "bert.pooler.dense"},
    Module{"bert.pooler.dense_act", "bert.pooler.dense"},
    Module{"cls.predictions.transform.dense", "cls.predictions.transform.dense"},
    Module{"cls.predictions.transform.dense_act", "cls.predictions.transform.dense"},
    Module{"cls.predictions.transform.LayerNorm", "cls.predictions.transform.LayerNorm"},
    Module{"cls.predictions.decoder", "cls.predictions.decoder"},
    Module{"cls.predictions", "cls.predictions"},
    Module{"cls.seq_relationship", "cls.seq_relationship"},
    Module{"classifier", "classifier"},
    Module{"qa_outputs", "qa_outputs"}};
constexpr std::array kTorchEndings = {Ending{".weight", ".weight"}, Ending{".bias", ".bias"},
                                      Ending{".gamma", ".weight"}, Ending{".beta", ".bias"}};

constexpr std::array kDialects = {Dialect{kGoogleModules, kGoogleEndings},
                                  Dialect{kTorchModules, kTorchEndings}};

constexpr std::array<std::string_view, 2> kBuffers = {"bert.embeddings.position_ids",
                                                      "bert.embeddings.token_type_ids"};

/// What wraps a model puts before its names: DataParallel, Lightning.
constexpr std::array<std::string_view, 2> kWrappers = {"module.", "model."};

/// What may wrap any module of a model, so that it stands anywhere in a name: torch.compile, FSDP,
/// activation checkpointing.
constexpr std::array<std::string_view, 3> kInnerWrappers = {"_orig_mod.", "_fsdp_wrapped_module.",
                                                            "_checkpoint_wrapped_module."};

/// Takes `pattern` from the beginning of `name`; # takes digits, which go to `number`.
bool take(std::string_view& name, std::string_view pattern, std::string_view& number) {
  for (const char letter : pattern) {
    if (letter != '#') {
      if (!name.starts_with(letter)) return false;
      name.remove_prefix(1);
      continue;
    }
    size_t digits = 0;
    while (digits < name.size() && std::isdigit(static_cast<unsigned char>(name[digits])) != 0) {
      ++digits;
    }
    number = name.substr(0, digits);
    name.remove_prefix(digits);
    if (number.empty()) return false;
  }
  return true;
}

/// `stored` without wrappers, inner ones first: they may stand between and before the others.
std::string unwrapped(std::string_view stored) {
  std::string name(stored);
  for (const std::string_view wrapper : kInnerWrappers) {
    for (size_t place = 0; (place = name.find(wrapper, place)) != name.npos;) {
      if (place == 0 || name[place - 1] == '.') {
        name.erase(place, wrapper.size());
      } else {
        ++place;
      }
    }
  }
  const auto is_before = [&](std::string_view wrapper) { return name.starts_with(wrapper); };
  for (auto found = kWrappers.begin();
       (found = std::find_if(kWrappers.begin(), kWrappers.end(), is_before)) != kWrappers.end();) {
    name.erase(0, found->size());
  }
  return name;
}

Place place_of(std::string_view name) {
  if (name.starts_with("bert.pooler.")) return Place::pooler;
  if (name.starts_with("bert.") || name.starts_with("qa_outputs.")) return Place::model;
  return Place::head;
}

std::optional<ModelName> find(const Dialect& dialect, std::string_view stored) {
  for (const Module& module : dialect.modules) {
    std::string_view rest = stored;
    std::string_view number;
    if (!take(rest, module.stored, number)) continue;
    for (const Ending& ending : dialect.endings) {
      // Only tables of embeddings have no ending of their own.
      if (rest != ending.stored || (rest.empty() && !module.stored.ends_with("_embeddings"))) {
        continue;
      }
      std::string name(module.ours);
      if (const size_t gap = name.find('#'); gap != name.npos) name.replace(gap, 1, number);
      name += ending.ours;
      return ModelName{name, place_of(name), ending.transposed};
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<ModelName> model_name(std::string_view stored) {
  std::string name = unwrapped(stored);
  for (const std::string_view part : {"embeddings.", "encoder.", "pooler."}) {
    if (name.starts_with(part)) {
      name.insert(0, "bert.");
      break;
    }
  }
  for (const std::string_view buffer : kBuffers) {
    if (name == buffer) return ModelName{name, Place::buffer};
  }
  for (const Dialect& dialect : kDialects) {
    if (auto found = find(dialect, name)) return found;
  }
  return std::nullopt;
}

bool is_padded(int64_t rows, int64_t size) {
  for (const int64_t multiple : {8, 64, 128}) {
    if (rows == (size + multiple - 1) / multiple * multiple) {
      return rows > size;
    }
  }
  return false;
}

}  // namespace bertrand
