#include "checkpoint/names.h"

#include <gtest/gtest.h>

namespace bertrand {
namespace {

std::string name_of(const char* stored) {
  const auto name = model_name(stored);
  return name ? name->name + (name->transposed ? " T" : "") : "";
}

TEST(ModelName, KnowsEveryDialect) {
  const struct {
    const char* stored;
    const char* ours;
  } cases[] = {
      {"bert/embeddings/word_embeddings", "bert.embeddings.word_embeddings.weight"},
      {"bert/embeddings/LayerNorm/beta", "bert.embeddings.LayerNorm.bias"},
      {"bert/encoder/layer_11/attention/self/query/kernel",
       "bert.encoder.layer.11.attention.self.query.weight T"},
      {"bert/encoder/layer_0/output/LayerNorm/gamma",
       "bert.encoder.layer.0.output.LayerNorm.weight"},
      {"bert/pooler/dense/kernel", "bert.pooler.dense.weight T"},
      {"cls/squad/output_weights", "qa_outputs.weight"},
      {"cls/squad/output_bias", "qa_outputs.bias"},
      {"cls/predictions/output_bias", "cls.predictions.bias"},
      {"cls/predictions/transform/dense/kernel", "cls.predictions.transform.dense.weight T"},
      {"cls/seq_relationship/output_weights", "cls.seq_relationship.weight"},
      {"output_weights", "classifier.weight"},
      {"module.bert.embeddings.LayerNorm.gamma", "bert.embeddings.LayerNorm.weight"},
      {"bert.encoder.layer.3.intermediate.dense_act.weight",
       "bert.encoder.layer.3.intermediate.dense.weight"},
      {"bert.pooler.dense_act.bias", "bert.pooler.dense.bias"},
      {"cls.predictions.transform.dense_act.weight", "cls.predictions.transform.dense.weight"},
      {"encoder.layer.2.output.dense.bias", "bert.encoder.layer.2.output.dense.bias"},
      {"module.qa_outputs.weight", "qa_outputs.weight"},
      {"model.bert.pooler.dense.bias", "bert.pooler.dense.bias"},
      {"_orig_mod.module.embeddings.LayerNorm.weight", "bert.embeddings.LayerNorm.weight"},
      {"_fsdp_wrapped_module.bert.encoder.layer.1._fsdp_wrapped_module._checkpoint_wrapped_module."
       "output.dense.bias",
       "bert.encoder.layer.1.output.dense.bias"},
      {"module._fsdp_wrapped_module.model._checkpoint_wrapped_module.qa_outputs.bias",
       "qa_outputs.bias"},
      {"bert._orig_mod.encoder.layer.0._orig_mod.attention.self.key._orig_mod.weight",
       "bert.encoder.layer.0.attention.self.key.weight"},
      {"_fsdp_wrapped_module.encoder._orig_mod.layer.0.output.dense.bias",
       "bert.encoder.layer.0.output.dense.bias"},
      {"embeddings.position_ids", "bert.embeddings.position_ids"}};
  for (const auto& [stored, ours] : cases) EXPECT_EQ(name_of(stored), ours) << stored;
}

TEST(ModelName, KnowsWhatHasNoPlace) {
  for (const char* stored :
       {"", "bert", "bert/encoder/layer_/output/dense/bias", "bert/encoder/layer_0/output/dense",
        "bert.encoder.layer.x.output.dense.bias", "bert.encoder.layer.0.output.dense.weight.q",
        "lm_head.weight", "qa_outputs", "bert.my_orig_mod.pooler.dense.bias",
        "bert.pooler._fsdp_wrapped_module", "bert.encoder.layer.0.crossattention.self.key.bias"}) {
    EXPECT_EQ(name_of(stored), "") << stored;
  }
}

TEST(IsPadded, MultiplesOf8And64And128) {
  EXPECT_TRUE(is_padded(30528, 30522));
  EXPECT_TRUE(is_padded(29056, 28996));
  EXPECT_FALSE(is_padded(30522, 30522));
  EXPECT_FALSE(is_padded(30536, 30522));
  EXPECT_FALSE(is_padded(30520, 30522));
}

}  // namespace
}  // namespace bertrand
