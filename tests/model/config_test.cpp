#include "model/config.h"

#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace bertrand {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json small_config() {
  return {{"hidden_size", 12},       {"num_hidden_layers", 2},  {"num_attention_heads", 3},
          {"intermediate_size", 24}, {"vocab_size", 50},        {"max_position_embeddings", 16},
          {"type_vocab_size", 2},    {"layer_norm_eps", 1e-12}, {"hidden_act", "gelu"}};
}

BertConfig read(const json& config) { return BertConfig::from_json(config.dump(), "config.json"); }

/// The error's text, empty where the config is taken.
std::string refusal(const std::string& text) {
  try {
    BertConfig::from_json(text, "folder/config.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 3);
    return error.what();
  }
  return "";
}

std::string refusal_with(const char* field, const json& value) {
  json config = small_config();
  config[field] = value;
  return refusal(config.dump());
}

TEST(BertConfig, RefusesWhatIsNestedDeeply) {
  EXPECT_THAT(refusal("{\"a\":" + std::string(70, '[') + std::string(70, ']') + "}"),
              HasSubstr("more than 64 deep"));
  json config = small_config();
  config["architectures"] = {{{"a", {1, 2}}}};
  config["note"] = "\"\\" + std::string(100, '[');
  EXPECT_EQ(refusal(config.dump()), "");
}

TEST(BertConfig, ReadsEveryField) {
  json config = small_config();
  config["model_type"] = "bert";
  config["hidden_act"] = "gelu_new";
  config["layer_norm_eps"] = 1e-5;
  config["hidden_dropout_prob"] = 0.25;
  config["attention_probs_dropout_prob"] = 0;
  config["initializer_range"] = 0.5;
  config["pad_token_id"] = 7;
  const BertConfig read_back = read(config);
  EXPECT_EQ(read_back.hidden_size, 12);
  EXPECT_EQ(read_back.num_hidden_layers, 2);
  EXPECT_EQ(read_back.num_attention_heads, 3);
  EXPECT_EQ(read_back.head_size(), 4);
  EXPECT_EQ(read_back.intermediate_size, 24);
  EXPECT_EQ(read_back.vocab_size, 50);
  EXPECT_EQ(read_back.max_position_embeddings, 16);
  EXPECT_EQ(read_back.type_vocab_size, 2);
  EXPECT_EQ(read_back.layer_norm_eps, 1e-5);
  EXPECT_EQ(read_back.hidden_dropout_prob, 0.25);
  EXPECT_EQ(read_back.attention_probs_dropout_prob, 0);
  EXPECT_EQ(read_back.initializer_range, 0.5);
  EXPECT_EQ(read_back.pad_token_id, 7);
  EXPECT_EQ(read_back.hidden_act, Activation::gelu_tanh);
}

TEST(BertConfig, ReadsGooglesForm) {
  const BertConfig config = BertConfig::from_json(
      R"({"attention_probs_dropout_prob": 0.1, "directionality": "bidi", "hidden_act": "gelu",
          "hidden_dropout_prob": 0.1, "hidden_size": 768, "initializer_range": 0.02,
          "intermediate_size": 3072, "max_position_embeddings": 512, "num_attention_heads": 12,
          "num_hidden_layers": 12, "pooler_fc_size": 768, "pooler_type": "first_token_transform",
          "type_vocab_size": 2, "vocab_size": 21128})",
      "bert_config.json");
  EXPECT_EQ(config.vocab_size, 21128);
  EXPECT_EQ(config.hidden_size, 768);
  EXPECT_EQ(config.hidden_act, Activation::gelu);
  EXPECT_EQ(config.layer_norm_eps, 1e-12);
}

TEST(BertConfig, KnowsTheNamesOfGelu) {
  const std::vector<std::pair<const char*, Activation>> names = {
      {"gelu", Activation::gelu},           {"gelu_python", Activation::gelu},
      {"gelu_new", Activation::gelu_tanh},  {"gelu_pytorch_tanh", Activation::gelu_tanh},
      {"gelu_fast", Activation::gelu_tanh}, {"gelu_accurate", Activation::gelu_tanh}};
  for (const auto& [name, activation] : names) {
    json config = small_config();
    config["hidden_act"] = name;
    EXPECT_EQ(read(config).hidden_act, activation) << name;
  }
  for (const char* other : {"relu", "quick_gelu", "gelu_10", "", "GELU"}) {
    EXPECT_THAT(refusal_with("hidden_act", other), HasSubstr("\"hidden_act\" must be")) << other;
  }
  EXPECT_THAT(refusal_with("hidden_act", nullptr), HasSubstr("must be a string, and is null"));
}

TEST(BertConfig, NamesTheFieldThatIsMissing) {
  for (const char* field : {"hidden_size", "num_hidden_layers", "num_attention_heads",
                            "intermediate_size", "vocab_size"}) {
    json config = small_config();
    config.erase(field);
    EXPECT_EQ(refusal(config.dump()), "folder/config.json: \"" + std::string(field) +
                                          "\" is missing; take the config that belongs to the "
                                          "weights.");
  }
}

TEST(BertConfig, NamesTheFieldOutOfRange) {
  const std::vector<std::pair<const char*, json>> wrong = {{"hidden_size", 0},
                                                           {"hidden_size", -12},
                                                           {"hidden_size", 12.5},
                                                           {"hidden_size", "12"},
                                                           {"hidden_size", json::array({12})},
                                                           {"hidden_size", 18446744073709551615U},
                                                           {"hidden_size", 1e300},
                                                           {"num_hidden_layers", 1000000},
                                                           {"num_attention_heads", 0},
                                                           {"vocab_size", 1LL << 40},
                                                           {"type_vocab_size", 1},
                                                           {"max_position_embeddings", 0},
                                                           {"pad_token_id", 50},
                                                           {"pad_token_id", -1},
                                                           {"layer_norm_eps", 0},
                                                           {"layer_norm_eps", -1e-12},
                                                           {"layer_norm_eps", "small"},
                                                           {"hidden_dropout_prob", 1},
                                                           {"hidden_dropout_prob", -0.1},
                                                           {"attention_probs_dropout_prob", true},
                                                           {"initializer_range", -1}};
  for (const auto& [field, value] : wrong) {
    EXPECT_THAT(refusal_with(field, value),
                HasSubstr("folder/config.json: \"" + std::string(field) + "\" must be a"))
        << value;
  }
  EXPECT_THAT(refusal_with("num_attention_heads", 5), HasSubstr("\"hidden_size\" must be a multi"));
}

TEST(BertConfig, RefusesOtherKindsOfModel) {
  EXPECT_EQ(refusal_with("model_type", "roberta"),
            "folder/config.json: \"model_type\" must be \"bert\", and is \"roberta\"; other kinds "
            "of model are not supported.");
  EXPECT_THAT(refusal_with("position_embedding_type", "relative_key"), HasSubstr("\"absolute\""));
  EXPECT_THAT(refusal_with("is_decoder", true), HasSubstr("\"is_decoder\" must be false"));
  EXPECT_THAT(refusal_with("add_cross_attention", true), HasSubstr("must be false"));
  EXPECT_EQ(refusal_with("is_decoder", false), "");
}

TEST(BertConfig, RefusesWhatIsNotAnObject) {
  EXPECT_THAT(refusal("{\"hidden_size\": 12,}"), HasSubstr("is not valid JSON at byte 20"));
  EXPECT_THAT(refusal(""), HasSubstr("is not valid JSON"));
  EXPECT_THAT(refusal("[]"), HasSubstr("must be one JSON object"));
  EXPECT_THAT(refusal("{\"layer_norm_eps\": 1e999}"), HasSubstr("a number that is too large"));
  EXPECT_THAT(refusal("{\"model_type\": \"\xff\"}"), HasSubstr("is not valid JSON"));
  EXPECT_THAT(refusal(std::string(1 << 20, '[')), HasSubstr("more than 64 deep"));
}

TEST(BertConfig, WritesWhatItReads) {
  BertConfig config;
  config.hidden_size = 384;
  config.num_hidden_layers = 6;
  config.intermediate_size = 1536;
  config.layer_norm_eps = 1e-7;
  config.hidden_dropout_prob = 0;
  config.pad_token_id = 3;
  config.hidden_act = Activation::gelu_tanh;
  const std::string text = config.to_json();
  const BertConfig again = BertConfig::from_json(text, "config.json");
  EXPECT_EQ(again.to_json(), text);
  EXPECT_EQ(again.hidden_size, 384);
  EXPECT_EQ(again.layer_norm_eps, 1e-7);
  EXPECT_EQ(again.hidden_act, Activation::gelu_tanh);
  const json parsed = json::parse(text);
  EXPECT_EQ(parsed["architectures"], json::array({"BertForQuestionAnswering"}));
  EXPECT_EQ(parsed["model_type"], "bert");
}

}  // namespace
}  // namespace bertrand
