#include "train/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace bertrand {
namespace {

using testing::HasSubstr;

BertConfig with_hidden(int64_t size) {
  BertConfig config;
  config.hidden_size = size;
  return config;
}

std::string error_of(const std::function<void()>& act, ErrorCode code) {
  try {
    act();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code);
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

TEST(Recipe, ReferenceIsTheReferenceSystems) {
  const Recipe recipe = named_recipe("reference", BertConfig());
  EXPECT_EQ(recipe.optimizer.kind, OptimizerKind::bert_adam);
  EXPECT_EQ(recipe.optimizer.beta1, 0.9);
  EXPECT_EQ(recipe.optimizer.beta2, 0.999);
  EXPECT_EQ(recipe.optimizer.epsilon, 1e-6);
  EXPECT_EQ(recipe.optimizer.weight_decay, 0.01);
  EXPECT_EQ(recipe.optimizer.clip, GradientClip::per_parameter);
  EXPECT_EQ(recipe.optimizer.max_gradient_norm, 1.0);
  EXPECT_EQ(recipe.schedule_total, ScheduleTotal::examples);
  EXPECT_EQ(recipe.order, WindowOrder::torch);
  EXPECT_TRUE(recipe.keep_pooler);
  EXPECT_EQ(recipe.learning_rate, 3e-5);
  EXPECT_EQ(recipe.batch_size, 4U);
  EXPECT_EQ(recipe.epochs, 2U);
  EXPECT_EQ(recipe.warmup, 0.1);
  EXPECT_EQ(recipe.hidden_dropout, 0.1);
  EXPECT_EQ(recipe.attention_dropout, 0.1);
  EXPECT_EQ(recipe.hidden_act, Activation::gelu);
  EXPECT_EQ(recipe.layer_norm_eps, 1e-12);
}

TEST(Recipe, ModernDiffersWhereItSays) {
  const Recipe recipe = named_recipe("modern", BertConfig());
  EXPECT_EQ(recipe.optimizer.kind, OptimizerKind::adamw);
  EXPECT_EQ(recipe.optimizer.epsilon, 1e-8);
  EXPECT_EQ(recipe.optimizer.clip, GradientClip::global);
  EXPECT_EQ(recipe.schedule_total, ScheduleTotal::steps);
  EXPECT_EQ(recipe.order, WindowOrder::length_aware);
  EXPECT_FALSE(recipe.keep_pooler);
  EXPECT_EQ(recipe.learning_rate, 3e-5);
  EXPECT_EQ(recipe.batch_size, 32U);
  EXPECT_EQ(recipe.epochs, 2U);
}

TEST(Recipe, SmallModelsTakeLargerSteps) {
  EXPECT_EQ(default_learning_rate(128), 2e-4);
  EXPECT_EQ(default_learning_rate(384), 2e-4);
  EXPECT_EQ(default_learning_rate(512), 9.1e-5);
  EXPECT_EQ(default_learning_rate(768), 3e-5);
  EXPECT_EQ(default_learning_rate(1024), 3e-5);
  EXPECT_EQ(named_recipe("modern", with_hidden(384)).learning_rate, 2e-4);
  EXPECT_EQ(named_recipe("reference", with_hidden(384)).learning_rate, 3e-5);
}

TEST(Recipe, TakesActivationAndEpsilonFromTheModel) {
  BertConfig config;
  config.hidden_act = Activation::gelu_tanh;
  config.layer_norm_eps = 1e-5;
  for (const char* name : {"modern", "reference"}) {
    EXPECT_EQ(named_recipe(name, config).hidden_act, Activation::gelu_tanh);
    EXPECT_EQ(named_recipe(name, config).layer_norm_eps, 1e-5);
  }
}

TEST(Recipe, WindowsAreNoLongerThanTheModelsPositions) {
  BertConfig config;
  EXPECT_EQ(named_recipe("modern", config).max_seq_length, 384U);
  config.max_position_embeddings = 128;
  EXPECT_EQ(named_recipe("modern", config).max_seq_length, 128U);
}

TEST(Recipe, AnotherNameIsRefused) {
  EXPECT_THAT(error_of([] { named_recipe("classic", BertConfig()); }, ErrorCode::usage),
              HasSubstr("reference or modern"));
}

TEST(Recipe, EveryFieldGoesThroughTextAndJson) {
  for (const char* name : {"modern", "reference"}) {
    const Recipe recipe = named_recipe(name, with_hidden(512));
    const Recipe again = recipe_from_json(recipe_to_json(recipe), "recipe.json");
    Recipe by_text;
    EXPECT_EQ(again.name, name);
    for (const RecipeField& field : recipe_fields()) {
      const std::string value = recipe_value(recipe, field.name);
      EXPECT_FALSE(value.empty()) << field.name;
      EXPECT_EQ(recipe_value(again, field.name), value) << field.name;
      set_recipe_value(by_text, field.name, value);
      EXPECT_EQ(recipe_value(by_text, field.name), value) << field.name;
    }
  }
}

TEST(Recipe, JsonIsComplete) {
  const auto json = nlohmann::json::parse(recipe_to_json(named_recipe("reference", BertConfig())));
  EXPECT_EQ(json["recipe"], "reference");
  EXPECT_EQ(json["optimizer"], "bert_adam");
  EXPECT_EQ(json["loss"], "real_tokens");
  EXPECT_EQ(json["learning_rate"], 3e-5);
  EXPECT_EQ(json["seed"], 42);
  EXPECT_EQ(json["keep_pooler"], true);
  EXPECT_EQ(json.size(), recipe_fields().size() + 2);
}

TEST(Recipe, ValuesThatAreNoneAreRefusedByTheirFlag) {
  Recipe recipe;
  const auto set = [&](const char* field, const char* text) {
    return error_of([&] { set_recipe_value(recipe, field, text); }, ErrorCode::usage);
  };
  EXPECT_THAT(set("batch_size", "many"), HasSubstr("--batch-size"));
  EXPECT_THAT(set("batch_size", "-1"), HasSubstr("\"-1\""));
  EXPECT_THAT(set("batch_size", "99999999999"), HasSubstr("--batch-size"));
  EXPECT_THAT(set("learning_rate", "3e-5x"), HasSubstr("--learning-rate"));
  EXPECT_THAT(set("optimizer", "sgd"), HasSubstr("adamw|bert_adam"));
  EXPECT_THAT(set("colour", "red"), HasSubstr("colour"));
}

TEST(Recipe, ValuesOutOfRangeAreRefusedByTheirFlag) {
  const auto check = [](const char* field, const char* text) {
    Recipe recipe;
    set_recipe_value(recipe, field, text);
    return error_of([&] { check_recipe(recipe); }, ErrorCode::usage);
  };
  EXPECT_THAT(check("batch_size", "0"), HasSubstr("--batch-size: 0"));
  EXPECT_THAT(check("epochs", "0"), HasSubstr("--epochs"));
  EXPECT_THAT(check("learning_rate", "0"), HasSubstr("--learning-rate"));
  EXPECT_THAT(check("learning_rate", "inf"), HasSubstr("--learning-rate"));
  EXPECT_THAT(check("learning_rate", "nan"), HasSubstr("--learning-rate"));
  EXPECT_THAT(check("hidden_dropout", "1"), HasSubstr("--hidden-dropout"));
  // What a model folder may not hold, or is 0 in f32 and makes weights that are no numbers.
  EXPECT_THAT(check("layer_norm_eps", "1e-38"), HasSubstr("--layer-norm-eps"));
  EXPECT_THAT(check("layer_norm_eps", "1"), HasSubstr("--layer-norm-eps"));
  EXPECT_THAT(check("epsilon", "1e-46"), HasSubstr("--epsilon"));
  EXPECT_THAT(check("epsilon", "inf"), HasSubstr("--epsilon"));
  EXPECT_THAT(check("warmup", "nan"), HasSubstr("--warmup"));
  EXPECT_THAT(check("accumulation", "33"), HasSubstr("--accumulation"));
  EXPECT_THAT(check("max_seq_length", "60"), HasSubstr("--max-seq-length"));
  EXPECT_NO_THROW(check_recipe(Recipe()));
}

TEST(Recipe, PrecisionMayBeAutoButNotInt8) {
  Recipe recipe;
  EXPECT_EQ(recipe.precision, Precision::fp32);
  set_recipe_value(recipe, "precision", "auto");
  EXPECT_EQ(recipe.precision, Precision::automatic);
  EXPECT_THAT(error_of([&] { set_recipe_value(recipe, "precision", "int8"); }, ErrorCode::usage),
              HasSubstr("auto|fp32|tf32|bf16|fp16"));
}

TEST(Recipe, BadJsonNamesTheFileAndTheKey) {
  const auto read = [](const std::string& text) {
    return error_of([&] { recipe_from_json(text, "somewhere"); }, ErrorCode::bad_input);
  };
  EXPECT_THAT(read("{"), HasSubstr("somewhere"));
  EXPECT_THAT(read("[]"), HasSubstr("somewhere"));
  EXPECT_THAT(read(R"({"recipe": "modern"})"), HasSubstr("\"optimizer\""));
  auto json = nlohmann::json::parse(recipe_to_json(Recipe()));
  json["epochs"] = 1.5;
  EXPECT_THAT(read(json.dump()), HasSubstr("\"epochs\""));
}

}  // namespace
}  // namespace bertrand
