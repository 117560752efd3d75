// Model folders with 8-bit weights: written, read, and refused where they do not fit.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/fixtures.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/small_model.h"

namespace bertrand {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using test::kSeed;
using test::small_config;
using test::small_contents;

class EightBitFolder : public ::testing::Test {
 protected:
  test::TemporaryFolder folder_;
};

/// 8-bit weights and their factors, by name, as they are in the folder.
std::map<std::string, TensorView> stored_tensors(const SafetensorsFile& file) {
  std::map<std::string, TensorView> tensors;
  for (const TensorView& tensor : file.tensors()) {
    tensors.emplace(tensor.name, tensor);
  }
  return tensors;
}

TEST_F(EightBitFolder, WritesAndReads) {
  ModelFolderContents contents = small_contents(folder_);
  contents.type = DataType::i8;
  write_model_folder(folder_.path(), contents);
  const SafetensorsFile file = SafetensorsFile::open(folder_ / "model.safetensors");
  const auto stored = stored_tensors(file);
  const std::string query = "bert.encoder.layer.0.attention.self.query.weight";
  EXPECT_EQ(stored.at(query).type, DataType::i8);
  EXPECT_THAT(stored.at(query + "_scale").shape, ElementsAre(6));
  EXPECT_EQ(stored.at("qa_outputs.weight").type, DataType::f32);
  EXPECT_EQ(stored.at("bert.embeddings.token_type_embeddings.weight").type, DataType::f32);
  EXPECT_EQ(stored.at("bert.encoder.layer.0.output.dense.bias").type, DataType::f32);

  const ModelFolder folder = ModelFolder::open(folder_.path());
  const auto infos = bert_parameters(small_config());
  std::vector<std::vector<float>> read;
  std::vector<std::vector<float>> exact;
  for (const ParameterInfo& info : infos) {
    exact.push_back(test::small_values(info));
    folder.parameters(kSeed)(info, read.emplace_back(exact.back().size()));
  }
  for (size_t i = 0; i < infos.size(); ++i) {
    const bool narrow = stored.contains(infos[i].name + "_scale");
    const size_t columns = narrow ? static_cast<size_t>(infos[i].shape[1]) : exact[i].size();
    for (size_t begin = 0; begin < exact[i].size(); begin += columns) {
      float most = 0;
      for (size_t j = begin; j < begin + columns; ++j) {
        most = std::max(most, std::fabs(exact[i][j]));
      }
      const float step = narrow ? most / 127 : 0;
      for (size_t j = begin; j < begin + columns; ++j) {
        ASSERT_LE(std::fabs(read[i][j] - exact[i][j]), 0.5001F * step) << infos[i].name;
      }
    }
  }

  // What was rounded once is not changed by being rounded again.
  contents.store_parameters = [&](const ParameterWriter& write) {
    for (size_t i = 0; i < infos.size(); ++i) write(infos[i], read[i]);
  };
  test::TemporaryFolder again;
  contents.vocabulary = folder_ / "vocab.txt";
  write_model_folder(again.path(), contents);
  const SafetensorsFile second = SafetensorsFile::open(again / "model.safetensors");
  for (const auto& [name, tensor] : stored_tensors(second)) {
    if (tensor.type == DataType::i8) {
      EXPECT_TRUE(std::ranges::equal(tensor.bytes, stored.at(name).bytes)) << name;
    }
  }
}

TEST_F(EightBitFolder, NamesWhatIsWrong) {
  ModelFolderContents contents = small_contents(folder_);
  contents.type = DataType::i8;
  write_model_folder(folder_.path(), contents);
  const std::string path = (folder_ / "model.safetensors").string();
  const std::string whole = test::read(path);
  const std::string scale = "query.weight_scale";
  std::string renamed = whole;
  renamed.replace(renamed.find(scale), scale.size(), "query.weight_skale");
  test::write(path, renamed);
  const std::string text = test::error_of(3, [&] { ModelFolder::open(folder_.path()); });
  EXPECT_THAT(text, HasSubstr("holds I8 and has no"));
  EXPECT_THAT(text, HasSubstr("query.weight_skale is not a part of this model"));

  contents.store_parameters = [](const ParameterWriter& write) {
    for (const ParameterInfo& info : bert_parameters(small_config())) {
      auto values = test::small_values(info);
      values.back() = std::numeric_limits<float>::infinity();
      write(info, values);
    }
  };
  contents.vocabulary = folder_ / "vocab.txt";
  EXPECT_THAT(test::error_of(3, [&] { write_model_folder(folder_.path(), contents); }),
              HasSubstr("word_embeddings.weight holds NaN or infinity"));
}

TEST_F(EightBitFolder, RefusesWhatDoesNotFit) {
  test::write(folder_ / "config.json", small_config().to_json());
  const std::string query = "bert.encoder.layer.0.attention.self.query.";
  // Zeros, but for tensors in the shapes and types given.
  const auto refusal_of = [&](const std::vector<TensorInfo>& changed) {
    std::map<std::string, TensorInfo> infos;
    for (const ParameterInfo& info : bert_parameters(small_config())) {
      infos[info.name] = {info.name, DataType::f32, info.shape};
    }
    for (const TensorInfo& info : changed) infos[info.name] = info;
    std::vector<TensorInfo> all;
    all.reserve(infos.size());
    for (const auto& [name, info] : infos) all.push_back(info);
    SafetensorsWriter writer(folder_ / "model.safetensors", all);
    for (const TensorInfo& info : all) {
      writer.write_bytes(std::vector<std::byte>(info.bytes()));
    }
    writer.commit();
    return test::error_of(3, [&] { ModelFolder::open(folder_.path()); });
  };
  const TensorInfo weight = {query + "weight", DataType::i8, {6, 6}};
  EXPECT_THAT(refusal_of({weight, {query + "weight_scale", DataType::f32, {5}}}),
              HasSubstr("query.weight_scale should hold F32 and have the shape [6]"));
  EXPECT_THAT(refusal_of({weight, {query + "weight_scale", DataType::f16, {6}}}),
              HasSubstr("query.weight_scale should hold F32"));
  EXPECT_THAT(refusal_of({{query + "bias", DataType::i8, {6}}}),
              HasSubstr("query.bias holds I8 and should hold F32, F16 or BF16"));
  EXPECT_THAT(refusal_of({{query + "weight_scale", DataType::f32, {6}}}),
              HasSubstr("query.weight_scale is not a part of this model"));
  EXPECT_THAT(refusal_of({weight,
                          {query + "weight_scale", DataType::f32, {6}},
                          {query.substr(5) + "weight_scale", DataType::f32, {6}}}),
              HasSubstr("query.weight_scale is not a part of this model"));
}

}  // namespace
}  // namespace bertrand
