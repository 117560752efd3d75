#include "train/recipe.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <type_traits>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/small_json.h"

namespace bertrand {
namespace {

using Json = nlohmann::ordered_json;

template <typename T>
struct Word {
  std::string_view word;
  T value;
};

constexpr std::array kOptimizers = {Word<OptimizerKind>{"adamw", OptimizerKind::adamw},
                                    Word<OptimizerKind>{"bert_adam", OptimizerKind::bert_adam}};
constexpr std::array kClips = {Word<GradientClip>{"none", GradientClip::none},
                               Word<GradientClip>{"global", GradientClip::global},
                               Word<GradientClip>{"per_parameter", GradientClip::per_parameter}};
constexpr std::array kTotals = {Word<ScheduleTotal>{"examples", ScheduleTotal::examples},
                                Word<ScheduleTotal>{"steps", ScheduleTotal::steps}};
constexpr std::array kOrders = {Word<WindowOrder>{"torch", WindowOrder::torch},
                                Word<WindowOrder>{"length_aware", WindowOrder::length_aware}};
constexpr std::array kActivations = {Word<Activation>{"gelu", Activation::gelu},
                                     Word<Activation>{"gelu_new", Activation::gelu_tanh}};
constexpr std::array kPrecisions = {
    Word<Precision>{"auto", Precision::automatic}, Word<Precision>{"fp32", Precision::fp32},
    Word<Precision>{"tf32", Precision::tf32}, Word<Precision>{"bf16", Precision::bf16},
    Word<Precision>{"fp16", Precision::fp16}};
constexpr std::array kBooleans = {Word<bool>{"true", true}, Word<bool>{"false", false}};

constexpr const auto& words_of(OptimizerKind) { return kOptimizers; }
constexpr const auto& words_of(GradientClip) { return kClips; }
constexpr const auto& words_of(ScheduleTotal) { return kTotals; }
constexpr const auto& words_of(WindowOrder) { return kOrders; }
constexpr const auto& words_of(Activation) { return kActivations; }
constexpr const auto& words_of(Precision) { return kPrecisions; }
constexpr const auto& words_of(bool) { return kBooleans; }

template <typename T>
constexpr bool kHasWords = std::is_enum_v<T> || std::is_same_v<T, bool>;

/// Calls field(name, value, help) for every value but the name: the one list that JSON, flags and
/// comparisons are made from.
template <typename SomeRecipe, typename Field>
void each_field(SomeRecipe& recipe, const Field& field) {
  field("optimizer", recipe.optimizer.kind, "AdamW, or BertAdam (without bias correction)");
  field("beta1", recipe.optimizer.beta1, "Decay of the first moment");
  field("beta2", recipe.optimizer.beta2, "Decay of the second moment");
  field("epsilon", recipe.optimizer.epsilon, "Added to the root of the second moment");
  field("weight_decay", recipe.optimizer.weight_decay, "Of all but biases and LayerNorm");
  field("clip", recipe.optimizer.clip, "Clip the gradient's norm: of all or of each parameter");
  field("max_gradient_norm", recipe.optimizer.max_gradient_norm, "Norm to clip to");
  field("learning_rate", recipe.learning_rate,
        "Highest learning rate; modern: 2e-4 for small models");
  field("warmup", recipe.warmup, "Part of the schedule in which the rate rises");
  field("schedule_total", recipe.schedule_total, "What the rate falls over");
  field("order", recipe.order, "Order of the windows");
  field("keep_pooler", recipe.keep_pooler, "Write the model's pooler again, untrained");
  field("batch_size", recipe.batch_size, "Windows a step, of each process");
  field("accumulation", recipe.accumulation, "Parts a batch is computed in, at least");
  field("micro_batch_tokens", recipe.micro_batch_tokens, "Tokens computed at once (memory)");
  field("epochs", recipe.epochs, "Passes over the data");
  field("max_steps", recipe.max_steps, "Stop after so many steps (0: all)");
  field("max_train_windows", recipe.max_train_windows, "Train on so many windows (0: all)");
  field("hidden_dropout", recipe.hidden_dropout, "Dropout of embeddings and hidden states");
  field("attention_dropout", recipe.attention_dropout, "Dropout of attention probabilities");
  field("hidden_act", recipe.hidden_act, "GELU by erf or by tanh");
  field("layer_norm_eps", recipe.layer_norm_eps, "Epsilon of LayerNorm");
  field("max_seq_length", recipe.max_seq_length, "Most tokens of a window");
  field("doc_stride", recipe.doc_stride, "Tokens from one window's begin to the next's");
  field("max_query_length", recipe.max_query_length, "Most tokens of a question");
  field("seed", recipe.seed, "Seed of order, dropout and new weights");
  field("precision", recipe.precision, "Of the matrix products; auto: whichever is faster");
}

template <typename T>
std::string to_text(const T& value) {
  if constexpr (kHasWords<T>) {
    for (const auto& word : words_of(value)) {
      if (word.value == value) {
        return std::string(word.word);
      }
    }
    return {};
  } else {
    return fmt::format("{}", value);
  }
}

template <typename T>
bool from_text(std::string_view text, T& value) {
  if constexpr (kHasWords<T>) {
    for (const auto& word : words_of(value)) {
      if (word.word == text) {
        value = word.value;
        return true;
      }
    }
    return false;
  } else {
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    return problem == std::errc() && end == text.data() + text.size();
  }
}

template <typename T>
std::string words_text([[maybe_unused]] const T& value) {
  std::string text;
  if constexpr (kHasWords<T>) {
    for (const auto& word : words_of(value)) {
      text += text.empty() ? "" : "|";
      text += word.word;
    }
  }
  return text;
}

template <typename T>
Json to_json_value(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return to_text(value);
  } else {
    return value;
  }
}

template <typename T>
bool from_json_value(const nlohmann::json& json, T& value) {
  if constexpr (std::is_enum_v<T>) {
    return json.is_string() && from_text(json.get<std::string>(), value);
  } else if constexpr (std::is_same_v<T, bool>) {
    value = json.is_boolean() && json.get<bool>();
    return json.is_boolean();
  } else if constexpr (std::is_floating_point_v<T>) {
    value = json.is_number() ? json.get<T>() : T();
    return json.is_number();
  } else {
    // Through text, so that what does not fit the type is refused.
    return json.is_number_unsigned() && from_text(json.dump(), value);
  }
}

}  // namespace

std::string flag_of(std::string_view field) {
  std::string flag = fmt::format("--{}", field);
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

WindowOptions Recipe::window_options() const {
  WindowOptions options;
  options.max_seq_length = max_seq_length;
  options.doc_stride = doc_stride;
  options.max_query_length = max_query_length;
  return options;
}

double default_learning_rate(int64_t hidden_size) {
  constexpr double kSmallSize = 384, kSmallRate = 2e-4;
  constexpr double kBaseSize = 768, kBaseRate = 3e-5;
  const double size = std::clamp(static_cast<double>(hidden_size), kSmallSize, kBaseSize);
  const double power = std::log(kBaseRate / kSmallRate) / std::log(kBaseSize / kSmallSize);
  const double rate = kSmallRate * std::pow(size / kSmallSize, power);
  double rounded = rate;
  from_text(fmt::format("{:.1e}", rate), rounded);
  return rounded;
}

Recipe named_recipe(std::string_view name, const BertConfig& config) {
  Recipe recipe;
  recipe.name = name;
  recipe.hidden_act = config.hidden_act;
  recipe.layer_norm_eps = config.layer_norm_eps;
  recipe.max_seq_length = static_cast<uint32_t>(
      std::min<int64_t>(recipe.max_seq_length, config.max_position_embeddings));
  if (name == "modern") {
    recipe.learning_rate = default_learning_rate(config.hidden_size);
    return recipe;
  }
  if (name != "reference") {
    throw Error(ErrorCode::usage,
                fmt::format("--recipe: \"{}\" is not known; take reference or modern.", name));
  }
  recipe.optimizer.kind = OptimizerKind::bert_adam;
  recipe.optimizer.epsilon = 1e-6;
  recipe.optimizer.clip = GradientClip::per_parameter;
  recipe.schedule_total = ScheduleTotal::examples;
  recipe.order = WindowOrder::torch;
  recipe.keep_pooler = true;
  recipe.batch_size = 4;
  return recipe;
}

const std::vector<RecipeField>& recipe_fields() {
  static const std::vector<RecipeField> fields = [] {
    std::vector<RecipeField> all;
    const Recipe recipe;
    each_field(recipe, [&](const char* name, const auto& value, const char* help) {
      all.push_back({name, help, words_text(value)});
    });
    return all;
  }();
  return fields;
}

std::string recipe_value(const Recipe& recipe, std::string_view field) {
  std::string text;
  each_field(recipe, [&](std::string_view name, const auto& value, const char*) {
    if (name == field) {
      text = to_text(value);
    }
  });
  return text;
}

void set_recipe_value(Recipe& recipe, std::string_view field, std::string_view text) {
  bool found = false;
  each_field(recipe, [&](std::string_view name, auto& value, const char*) {
    if (name != field) {
      return;
    }
    found = true;
    if (!from_text(text, value)) {
      const std::string words = words_text(value);
      throw Error(ErrorCode::usage,
                  fmt::format("{}: \"{}\" is not {}.", flag_of(field), text,
                              words.empty() ? "a number it takes" : "one of " + words));
    }
  });
  if (!found) {
    throw Error(ErrorCode::usage, fmt::format("A recipe has no value \"{}\".", field));
  }
}

void check_recipe(const Recipe& recipe) {
  const auto want = [&](bool good, std::string_view field, const char* range) {
    if (!good) {
      throw Error(ErrorCode::usage,
                  fmt::format("{}: {} is out of range; it must be {}.", flag_of(field),
                              recipe_value(recipe, field), range));
    }
  };
  const auto below_one = [&](double value, std::string_view field) {
    want(value >= 0 && value < 1, field, "at least 0 and below 1");
  };
  const auto positive = [&](double value, std::string_view field) {
    want(value > 0 && std::isfinite(value), field, "above 0");
  };
  below_one(recipe.optimizer.beta1, "beta1");
  below_one(recipe.optimizer.beta2, "beta2");
  below_one(recipe.warmup, "warmup");
  below_one(recipe.hidden_dropout, "hidden_dropout");
  below_one(recipe.attention_dropout, "attention_dropout");
  below_one(recipe.optimizer.weight_decay, "weight_decay");
  want(recipe.optimizer.epsilon >= kLeastEpsilon && std::isfinite(recipe.optimizer.epsilon),
       "epsilon", "at least 1e-37");
  positive(recipe.optimizer.max_gradient_norm, "max_gradient_norm");
  positive(recipe.learning_rate, "learning_rate");
  want(recipe.layer_norm_eps >= kLeastEpsilon && recipe.layer_norm_eps < 1, "layer_norm_eps",
       "at least 1e-37 and below 1");
  positive(recipe.batch_size, "batch_size");
  positive(recipe.accumulation, "accumulation");
  positive(recipe.micro_batch_tokens, "micro_batch_tokens");
  positive(recipe.epochs, "epochs");
  positive(recipe.doc_stride, "doc_stride");
  positive(recipe.max_query_length, "max_query_length");
  want(recipe.accumulation <= recipe.batch_size, "accumulation", "at most the batch size");
  want(recipe.max_seq_length > recipe.max_query_length + 3, "max_seq_length",
       "more than the query length and three special tokens");
}

std::string recipe_to_json(const Recipe& recipe) {
  Json json = {{"recipe", recipe.name}, {"loss", "real_tokens"}};
  each_field(recipe, [&](const char* name, const auto& value, const char*) {
    json[name] = to_json_value(value);
  });
  return json.dump(2) + "\n";
}

Recipe recipe_from_json(std::string_view text, const std::string& where) {
  const auto json = parse_json_object(text, where, "a recipe is one JSON object");
  if (!json.contains("recipe") || !json["recipe"].is_string()) {
    throw Error(ErrorCode::bad_input, where + ": is not a recipe (no \"recipe\" in it).");
  }
  Recipe recipe;
  recipe.name = json["recipe"].get<std::string>();
  each_field(recipe, [&](const char* name, auto& value, const char*) {
    if (!json.contains(name) || !from_json_value(json[name], value)) {
      throw Error(ErrorCode::bad_input,
                  fmt::format("{}: \"{}\" is missing or not of the right kind.", where, name));
    }
  });
  return recipe;
}

}  // namespace bertrand
