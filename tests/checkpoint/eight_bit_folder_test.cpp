// Model folders with 8-bit weights: written, read, and refused where they do not fit.
#include <algorithm>
#include <cmath>
#include <functional>
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

/// The word embeddings' rows, read from a folder written with `change` made to them.
std::vector<float> read_word_embeddings(const test::TemporaryFolder& folder,
                                        const std::function<void(std::vector<float>&)>& change) {
  ModelFolderContents contents = small_contents(folder);
  contents.type = DataType::i8;
  contents.store_parameters = [&](const ParameterWriter& write) {
    for (const ParameterInfo& info : bert_parameters(small_config())) {
      auto values = test::small_values(info);
      if (info.name == "bert.embeddings.word_embeddings.weight") change(values);
      write(info, values);
    }
  };
  write_model_folder(folder.path(), contents);
  const ParameterInfo info = bert_parameters(small_config())[0];
  std::vector<float> values(static_cast<size_t>(info.size()));
  ModelFolder::open(folder.path()).parameters(kSeed)(info, values);
  return values;
}

TEST_F(EightBitFolder, RowsOfTinyNumbersAreZeros) {
  const auto values = read_word_embeddings(folder_, [](std::vector<float>& rows) {
    std::fill_n(rows.begin(), 6, 1e-37F);
    std::fill_n(rows.begin() + 6, 6, std::numeric_limits<float>::denorm_min());
    std::fill_n(rows.begin() + 12, 6, 2e-36F);
  });
  for (size_t i = 0; i < 12; ++i) EXPECT_EQ(values[i], 0) << i;
  for (size_t i = 12; i < 18; ++i) EXPECT_NEAR(values[i], 2e-36F, 1e-38F) << i;
}

TEST_F(EightBitFolder, CutsRowsThatPadTheVocabulary) {
  const auto exact = read_word_embeddings(folder_, [](auto&) {});
  const SafetensorsFile file = SafetensorsFile::open(folder_ / "model.safetensors");
  constexpr int64_t kRows = 16;  // vocab_size is 9
  std::vector<TensorInfo> infos;
  for (const TensorView& tensor : file.tensors()) {
    infos.push_back({tensor.name, tensor.type, tensor.shape});
    if (tensor.name.find("word_embeddings") != std::string::npos) infos.back().shape[0] = kRows;
  }
  const test::TemporaryFolder padded;
  SafetensorsWriter writer(padded / "model.safetensors", infos);
  for (size_t i = 0; i < infos.size(); ++i) {
    std::vector<std::byte> bytes(file.tensors()[i].bytes.begin(), file.tensors()[i].bytes.end());
    bytes.resize(infos[i].bytes());
    writer.write_bytes(bytes);
  }
  writer.commit();
  test::write(padded / "config.json", small_config().to_json());
  const ModelFolder folder = ModelFolder::open(padded.path());
  EXPECT_THAT(folder.notes(), ElementsAre(HasSubstr("the last 7 of 16 rows")));
  std::vector<float> values(exact.size());
  folder.parameters(kSeed)(bert_parameters(small_config())[0], values);
  EXPECT_EQ(values, exact);
}

}  // namespace
}  // namespace bertrand
