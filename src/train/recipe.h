#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "model/config.h"
#include "squad/windows.h"

namespace bertrand {

/// What the learning rate's decay is measured against.
enum class ScheduleTotal {
  examples,  ///< from the number of questions, as the reference does: it ends a little early
  steps,     ///< the steps really made
};

/// How an epoch's windows are put in order.
enum class WindowOrder {
  torch,         ///< torch.randperm, cut into batches as it comes
  length_aware,  ///< shuffled, then windows of like length together
};

/// Everything that decides what a fine-tuning run computes, besides model and data. Two runs of the
/// same recipe on the same machine give the same bits.
struct Recipe {
  std::string name = "modern";
  OptimizerSettings optimizer;
  double learning_rate = 3e-5;
  double warmup = 0.1;  ///< part of the schedule in which the rate rises
  ScheduleTotal schedule_total = ScheduleTotal::steps;
  WindowOrder order = WindowOrder::length_aware;
  bool keep_pooler = false;            ///< write the pooler of the model read, untrained
  uint32_t batch_size = 32;            ///< windows a step
  uint32_t accumulation = 1;           ///< parts a batch is computed in, at least
  uint32_t micro_batch_tokens = 4096;  ///< tokens computed at once, but for a longer window
  uint32_t epochs = 2;
  uint64_t max_steps = 0;          ///< stop after so many; 0: all of the epochs
  uint64_t max_train_windows = 0;  ///< take so many windows, evenly spread; 0: all
  double hidden_dropout = 0.1;
  double attention_dropout = 0.1;
  Activation hidden_act = Activation::gelu;
  double layer_norm_eps = 1e-12;
  uint32_t max_seq_length = 384;
  uint32_t doc_stride = 128;
  uint32_t max_query_length = 64;
  uint64_t seed = 42;
  Precision precision = Precision::fp32;  ///< `automatic` until the run has chosen one

  WindowOptions window_options() const;
};

/// "reference" (what the PyTorch system for SQuAD v1.1 does, step by step) or "modern". Activation
/// and layer norm epsilon are the model's; windows are no longer than its positions; in "modern"
/// the learning rate fits its size (see default_learning_rate). Throws Error (usage) on another
/// name.
Recipe named_recipe(std::string_view name, const BertConfig& config);

/// Small models take larger steps: 2e-4 at hidden size 384 (MiniLM) and below, 3e-5 at 768 (base)
/// and above, a power of the hidden size between, rounded to two digits.
double default_learning_rate(int64_t hidden_size);

/// One value of a recipe as the user sees it: `name` is its key in recipe.json and, with dashes,
/// its flag.
struct RecipeField {
  std::string name;
  std::string help;
  std::string values;  ///< "a|b" where it is one of some words
};
const std::vector<RecipeField>& recipe_fields();

/// "--batch-size" of "batch_size".
std::string flag_of(std::string_view field);

/// A value as text, and from text. Throws Error (usage) naming the flag where `text` is no such
/// value.
std::string recipe_value(const Recipe& recipe, std::string_view field);
void set_recipe_value(Recipe& recipe, std::string_view field, std::string_view text);

/// Throws Error (usage) naming the first flag whose value makes no sense.
void check_recipe(const Recipe& recipe);

/// The complete recipe, and back. Throws Error (bad_input) naming `where` and the key.
std::string recipe_to_json(const Recipe& recipe);
Recipe recipe_from_json(std::string_view json, const std::string& where);

}  // namespace bertrand
