#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/bert_weights.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/fixtures.h"
#include "shared_data.h"

namespace bertrand {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr const char* kTiny = "data/golden/bert-tiny";
constexpr const char* kFormats = "data/checkpoints";

std::shared_ptr<const Checkpoint> open_shared(const std::string& name) {
  return open_checkpoint(test::shared_folder() / name);
}

/// The values of a tensor by name, as f32.
std::vector<float> values_of(const Checkpoint& checkpoint, const std::string& name) {
  const auto& tensors = checkpoint.tensors();
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const TensorInfo& tensor) { return tensor.name == name; });
  if (found == tensors.end()) {
    ADD_FAILURE() << "no " << name;
    return {};
  }
  std::vector<std::byte> buffer;
  const auto bytes = checkpoint.read(static_cast<size_t>(found - tensors.begin()), buffer);
  std::vector<float> values(static_cast<size_t>(found->size()));
  to_f32({name, found->type, found->shape, bytes}, values);
  return values;
}

struct GoldenCase {
  const char* file;
  const char* kind;
  double tolerance;  // relative
};

class GoldenFormats : public ::testing::TestWithParam<GoldenCase> {};

TEST_P(GoldenFormats, HoldTheSameWeights) {
  BERTRAND_NEEDS_SHARED(kTiny);
  const auto expected = open_shared(std::string(kTiny) + "/model.safetensors");
  const auto checkpoint = open_shared(std::string(kTiny) + "/" + GetParam().file);
  EXPECT_EQ(checkpoint->kind(), GetParam().kind);
  EXPECT_THAT(checkpoint->others(), IsEmpty());
  ASSERT_EQ(checkpoint->tensors().size(), expected->tensors().size());
  for (const TensorInfo& tensor : expected->tensors()) {
    const auto wanted = values_of(*expected, tensor.name);
    const auto values = values_of(*checkpoint, tensor.name);
    ASSERT_EQ(values.size(), wanted.size()) << tensor.name;
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_NEAR(values[i], wanted[i],
                  GetParam().tolerance * (std::abs(wanted[i]) + GetParam().tolerance))
          << tensor.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Files, GoldenFormats,
    ::testing::Values(GoldenCase{"pytorch_model.bin", "PyTorch (zip)", 0},
                      GoldenCase{"pytorch_model-legacy.bin", "PyTorch (before 1.6)", 0},
                      GoldenCase{"ckpt-under-model-key.pt", "PyTorch (zip)", 0},
                      GoldenCase{"pytorch_model-f16.bin", "PyTorch (zip)", 0x1p-11},
                      GoldenCase{"model-bf16.safetensors", "safetensors", 0x1p-8}),
    [](const auto& variant) { return "Case" + std::to_string(variant.index); });

TEST(PublishedFormats, OldAndNewPyTorch) {
  BERTRAND_NEEDS_SHARED(kFormats);
  const auto old = open_shared("data/checkpoints/pytorch/legacy-simple-tagger.th");
  const auto zip = open_shared("data/checkpoints/pytorch/zip-simple-tagger.th");
  ASSERT_THAT(old->tensors(), SizeIs(zip->tensors().size()));
  EXPECT_THAT(old->tensors(), SizeIs(9));
  for (const auto& file : {old, zip}) {
    for (const TensorInfo& tensor : file->tensors()) {
      EXPECT_THAT(values_of(*file, tensor.name), SizeIs(static_cast<size_t>(tensor.size())));
    }
  }
}

TEST(PublishedFormats, NestedStateDictionary) {
  BERTRAND_NEEDS_SHARED(kFormats);
  const auto checkpoint = open_shared("data/checkpoints/pytorch/zip-with-key.pt");
  ASSERT_THAT(checkpoint->tensors(), SizeIs(1));
  EXPECT_EQ(checkpoint->tensors()[0].name, "test");
  EXPECT_EQ(checkpoint->tensors()[0].type, DataType::i64);
}

TEST(PublishedFormats, TensorFlowBundleWithAdamSlots) {
  BERTRAND_NEEDS_SHARED(kFormats);
  const std::string folder = "data/checkpoints/tf1-bert-tiny";
  const auto checkpoint = open_shared(folder);
  EXPECT_EQ(checkpoint->kind(), "TensorFlow 1 bundle");
  EXPECT_THAT(checkpoint->problems(), IsEmpty());
  EXPECT_THAT(checkpoint->others(), Contains(::testing::Field(&TensorInfo::name, "global_step")));
  EXPECT_THAT(
      checkpoint->others(),
      Contains(::testing::Field(&TensorInfo::name, "bert/embeddings/word_embeddings/adam_m")));
  for (const char* name : {"/bert_model.ckpt", "/bert_model.ckpt.index", "/bert_model.ckpt.meta",
                           "/bert_model.ckpt.data-00000-of-00001"}) {
    EXPECT_EQ(open_shared(folder + name)->tensors().size(), checkpoint->tensors().size()) << name;
  }
  const auto config = BertConfig::from_json(
      test::read(test::shared_folder() / folder / "bert_config.json"), "config");
  const BertWeights weights = match_weights(*checkpoint, config);
  EXPECT_THAT(weights.faults, IsEmpty());
  EXPECT_THAT(weights.unknown, IsEmpty());
  EXPECT_FALSE(weights.has_span_head);
  EXPECT_THAT(weights.pooler, SizeIs(2));
  const auto kernel =
      std::find_if(weights.parameters.begin(), weights.parameters.end(), [](const Weight& weight) {
        return weight.info.name == "bert.encoder.layer.0.intermediate.dense.weight";
      });
  ASSERT_NE(kernel, weights.parameters.end());
  EXPECT_THAT(kernel->info.shape, ::testing::ElementsAre(16, 4));
  std::vector<std::byte> buffer;
  const auto bytes = read_weight(*checkpoint, *kernel, buffer);
  std::vector<float> values(64);
  to_f32({"x", kernel->info.type, kernel->info.shape, bytes}, values);
  const auto stored = values_of(*checkpoint, "bert/encoder/layer_0/intermediate/dense/kernel");
  for (size_t in = 0; in < 4; ++in) {
    for (size_t out = 0; out < 16; ++out) {
      EXPECT_EQ(values[out * 4 + in], stored[in * 16 + out]);
    }
  }
}

TEST(PublishedFormats, TensorFlowIndexWithoutItsData) {
  BERTRAND_NEEDS_SHARED(kFormats);
  const auto checkpoint = open_shared("data/checkpoints/tf1-bert-base-chinese-index");
  ASSERT_THAT(checkpoint->problems(), SizeIs(1));
  EXPECT_THAT(checkpoint->problems()[0],
              HasSubstr("bert_model.ckpt.data-00000-of-00001: this data file is missing"));
  std::vector<std::byte> buffer;
  EXPECT_THAT(test::error_of(3, [&] { checkpoint->read(0, buffer); }), HasSubstr("is missing"));
  const auto config = BertConfig::from_json(
      test::read(test::shared_folder() /
                 "data/checkpoints/tf1-bert-base-chinese-index/bert_config.json"),
      "config");
  const BertWeights weights = match_weights(*checkpoint, config);
  EXPECT_THAT(weights.faults, IsEmpty());
  EXPECT_THAT(weights.unknown, IsEmpty());
}

}  // namespace
}  // namespace bertrand
