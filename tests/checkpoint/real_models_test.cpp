#include <algorithm>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/fixtures.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/safetensors.h"
#include "shared_data.h"

namespace bertrand {
namespace {

using ::testing::UnorderedElementsAre;

constexpr const char* kTiny = "data/golden/bert-tiny";

SafetensorsFile open_tiny(const char* name) {
  return SafetensorsFile::open(test::shared_folder() / kTiny / name);
}

std::vector<float> values_of(const TensorView& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.size()));
  to_f32(tensor, values);
  return values;
}

/// The sum and the number of all parameters of the encoder.
std::pair<double, size_t> sum_of(const ModelFolder& folder) {
  double sum = 0;
  size_t count = 0;
  const ParameterReader read = folder.parameters(0);
  for (const ParameterInfo& info : bert_parameters(folder.config())) {
    std::vector<float> values(static_cast<size_t>(info.size()));
    read(info, values);
    if (info.name.starts_with("bert.")) {
      sum = std::accumulate(values.begin(), values.end(), sum);
      count += values.size();
    }
  }
  return {sum, count};
}

TEST(RealModels, AllMiniLm) {
  BERTRAND_NEEDS_SHARED("models/all-minilm-l6-v2");
  const ModelFolder folder = ModelFolder::open(test::shared_folder() / "models/all-minilm-l6-v2");
  EXPECT_TRUE(folder.lacks_head());
  EXPECT_EQ(folder.lower_case(), true);
  EXPECT_EQ(folder.config().num_hidden_layers, 6);
  EXPECT_THAT(
      folder.extra_tensors(),
      UnorderedElementsAre("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"));
  EXPECT_EQ(folder.pooler().at("bert.pooler.dense.weight").size(), 384U * 384);
  const auto [sum, count] = sum_of(folder);
  EXPECT_EQ(count, 22'565'376U);
  EXPECT_NEAR(sum, 1716.5939215735639, 1e-8);  // by NumPy
}

TEST(RealModels, MiniLmOfTheReference) {
  BERTRAND_NEEDS_SHARED("models/minilm-squad-reference");
  const ModelFolder folder =
      ModelFolder::open(test::shared_folder() / "models/minilm-squad-reference");
  EXPECT_FALSE(folder.lacks_head());
  EXPECT_TRUE(folder.extra_tensors().empty());
  EXPECT_NEAR(sum_of(folder).first, 1746.1819189190865, 1e-8);  // by NumPy
}

TEST(RealModels, Bf16IsF32Rounded) {
  BERTRAND_NEEDS_SHARED(kTiny);
  const SafetensorsFile wide = open_tiny("model.safetensors");
  const SafetensorsFile narrow = open_tiny("model-bf16.safetensors");
  ASSERT_EQ(wide.tensors().size(), narrow.tensors().size());
  for (const TensorView& tensor : wide.tensors()) {
    const TensorView* stored = narrow.find(tensor.name);
    ASSERT_NE(stored, nullptr) << tensor.name;
    EXPECT_EQ(stored->shape, tensor.shape);
    std::vector<std::byte> rounded(stored->bytes.size());
    from_f32(values_of(tensor), DataType::bf16, rounded);
    EXPECT_TRUE(std::equal(rounded.begin(), rounded.end(), stored->bytes.begin())) << tensor.name;
  }
}

TEST(RealModels, GoldenFilesOfEveryType) {
  BERTRAND_NEEDS_SHARED(kTiny);
  const SafetensorsFile batch = open_tiny("batch.safetensors");
  EXPECT_EQ(batch.find("input_ids")->type, DataType::i64);
  EXPECT_EQ(batch.find("input_ids")->size(), 6 * 128);
  EXPECT_EQ(open_tiny("forward-f64.safetensors").find("loss")->type, DataType::f64);
  EXPECT_EQ(open_tiny("forward-f32.safetensors").find("hidden.3")->size(), 6 * 128 * 64);
}

TEST(RealModels, AreWrittenAsTheyWere) {
  BERTRAND_NEEDS_SHARED("models/minilm-squad-reference");
  const ModelFolder folder =
      ModelFolder::open(test::shared_folder() / "models/minilm-squad-reference");
  ModelFolderContents contents;
  contents.config = folder.config();
  contents.vocabulary = folder.vocabulary_path();
  contents.type = DataType::f16;
  contents.parameters = bert_parameters(folder.config());
  contents.store_parameters = [&](const ParameterWriter& write) {
    for (const ParameterInfo& info : contents.parameters) {
      std::vector<float> values(static_cast<size_t>(info.size()));
      folder.parameters(0)(info, values);
      write(info, values);
    }
  };
  const test::TemporaryFolder copy;
  write_model_folder(copy.path(), contents);
  const SafetensorsFile before = SafetensorsFile::open(folder.path() / "model.safetensors");
  const SafetensorsFile after = SafetensorsFile::open(copy / "model.safetensors");
  ASSERT_EQ(after.tensors().size(), before.tensors().size());
  for (const TensorView& tensor : before.tensors()) {
    const TensorView* again = after.find(tensor.name);
    ASSERT_NE(again, nullptr) << tensor.name;
    EXPECT_EQ(again->shape, tensor.shape);
    EXPECT_TRUE(std::equal(tensor.bytes.begin(), tensor.bytes.end(), again->bytes.begin(),
                           again->bytes.end()))
        << tensor.name;
  }
}

}  // namespace
}  // namespace bertrand
