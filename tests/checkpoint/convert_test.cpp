#include "checkpoint/convert.h"

#include <algorithm>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/fixtures.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/small_model.h"

namespace bertrand {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

/// Names, types, shapes and bytes of all tensors, sorted by name.
std::vector<std::string> contents_of(const std::filesystem::path& path) {
  const auto checkpoint = open_checkpoint(path);
  std::vector<std::string> all;
  std::vector<std::byte> buffer;
  for (size_t i = 0; i < checkpoint->tensors().size(); ++i) {
    const TensorInfo& info = checkpoint->tensors()[i];
    const auto bytes = checkpoint->read(i, buffer);
    all.push_back(info.name + " " + std::string(name_of(info.type)) + shape_text(info.shape) +
                  std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  std::sort(all.begin(), all.end());
  return all;
}

class ConvertTest : public ::testing::Test {
 protected:
  ConvertTest() {
    std::filesystem::create_directory(folder_ / "model");
    contents_ = test::small_contents(folder_);
    contents_.pooler = {{"bert.pooler.dense.weight", std::vector<float>(36, 3)},
                        {"bert.pooler.dense.bias", std::vector<float>(6, 4)}};
    write_model_folder(folder_ / "model", contents_);
  }

  ConvertReport run(const std::string& in, const std::string& out, WeightFormat format,
                    std::optional<DataType> type = std::nullopt, Heads heads = Heads::all,
                    bool overwrite = false) {
    ConvertOptions options;
    options.overwrite = overwrite;
    options.in = folder_ / in;
    options.out = folder_ / out;
    options.format = format;
    options.single_file = out.find('.') != std::string::npos;
    options.type = type;
    options.heads = heads;
    return convert(options, [](uint64_t, uint64_t) {});
  }

  /// Writes model/model.safetensors again with other names, shapes and values.
  void write_weights(const std::vector<std::pair<TensorInfo, std::vector<float>>>& tensors) {
    std::vector<TensorInfo> infos;
    infos.reserve(tensors.size());
    for (const auto& [info, values] : tensors) infos.push_back(info);
    SafetensorsWriter writer(folder_ / "model/model.safetensors", infos);
    for (const auto& [info, values] : tensors) writer.write(values);
    writer.commit();
  }

  std::vector<std::pair<TensorInfo, std::vector<float>>> small_tensors() const {
    std::vector<std::pair<TensorInfo, std::vector<float>>> tensors;
    tensors.reserve(contents_.parameters.size());
    for (const ParameterInfo& info : contents_.parameters) {
      tensors.push_back({{info.name, DataType::f32, info.shape}, test::small_values(info)});
    }
    return tensors;
  }

  test::TemporaryFolder folder_;
  ModelFolderContents contents_;
};

TEST_F(ConvertTest, ComesBackBitForBitThroughPyTorch) {
  const ConvertReport report = run("model", "torch", WeightFormat::pytorch);
  EXPECT_THAT(report.notes, ElementsAre("The pooler is kept: bert.pooler.dense.bias, "
                                        "bert.pooler.dense.weight."));
  EXPECT_EQ(open_checkpoint(folder_ / "torch")->kind(), "PyTorch (zip)");
  EXPECT_TRUE(contents_of(folder_ / "torch") == contents_of(folder_ / "model"));
  run("torch", "again", WeightFormat::safetensors);
  for (const char* name : {"model.safetensors", "config.json", "vocab.txt", "tokenizer_config.json",
                           "special_tokens_map.json"}) {
    EXPECT_TRUE(test::read(folder_ / "again" / name) == test::read(folder_ / "model" / name))
        << name;
  }
  EXPECT_FALSE(ModelFolder::open(folder_ / "torch").lacks_head());
}

TEST_F(ConvertTest, KeepsNarrowTypesAndRoundsWhereAsked) {
  run("model", "half.bin", WeightFormat::pytorch, DataType::f16);
  EXPECT_EQ(open_checkpoint(folder_ / "half.bin")->tensors()[0].type, DataType::f16);
  std::filesystem::copy(folder_ / "model/config.json", folder_ / "config.json");
  run("half.bin", "half.safetensors", WeightFormat::safetensors);
  EXPECT_TRUE(contents_of(folder_ / "half.safetensors") == contents_of(folder_ / "half.bin"));
  run("half.bin", "brain.safetensors", WeightFormat::safetensors, DataType::bf16);
  EXPECT_EQ(open_checkpoint(folder_ / "brain.safetensors")->tensors()[0].type, DataType::bf16);
}

TEST_F(ConvertTest, KeepsOrLeavesHeadsAndSaysSo) {
  auto tensors = small_tensors();
  tensors.push_back({{"cls.seq_relationship.bias", DataType::f32, {2}}, {1, 2}});
  tensors.push_back({{"bert.pooler.dense.bias", DataType::f32, {6}}, std::vector<float>(6)});
  tensors.push_back({{"lm_head.bias", DataType::f32, {1}}, {1}});
  write_weights(tensors);
  ConvertReport report = run("model", "all", WeightFormat::safetensors);
  EXPECT_THAT(report.notes,
              Contains("These have no place in a BERT and are left out: lm_head.bias."));
  EXPECT_THAT(report.notes, Contains("Heads of other tasks are kept: cls.seq_relationship.bias."));
  EXPECT_EQ(report.tensors, tensors.size() - 1);
  report = run("model", "none", WeightFormat::safetensors, std::nullopt, Heads::none);
  EXPECT_THAT(report.notes, Contains("The pooler is left out: bert.pooler.dense.bias."));
  EXPECT_THAT(report.notes,
              Contains("Heads of other tasks are left out: cls.seq_relationship.bias."));
  EXPECT_EQ(report.tensors, tensors.size() - 3);
}

TEST_F(ConvertTest, CutsPaddedRowsAndSaysSo) {
  auto tensors = small_tensors();
  auto& [info, values] = tensors[0];
  ASSERT_EQ(info.name, "bert.embeddings.word_embeddings.weight");
  const auto before = contents_of(folder_ / "model");
  info.shape[0] = 16;  // vocab_size is 9
  values.resize(static_cast<size_t>(info.size()), 5);
  write_weights(tensors);
  const ConvertReport report = run("model", "cut", WeightFormat::safetensors);
  EXPECT_THAT(report.notes,
              Contains(AllOf(HasSubstr("the last 7 of 16 rows"), HasSubstr("vocab_size is 9"))));
  const auto after = contents_of(folder_ / "cut");
  EXPECT_TRUE(std::includes(before.begin(), before.end(), after.begin(), after.end()));
  EXPECT_EQ(ModelFolder::open(folder_ / "model").notes().size(), 1U);
}

TEST_F(ConvertTest, NamesAllThatDoesNotFit) {
  auto tensors = small_tensors();
  tensors.erase(tensors.begin() + 1);
  tensors[0].first.shape = {6, 9};
  write_weights(tensors);
  const std::string text =
      test::error_of(3, [&] { run("model", "new", WeightFormat::safetensors); });
  EXPECT_THAT(text, HasSubstr("position_embeddings.weight is missing"));
  EXPECT_THAT(text, HasSubstr("has the shape [6,9] and should have [9,6]"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "new"));
}

TEST_F(ConvertTest, WantsAConfig) {
  std::filesystem::copy(folder_ / "model/model.safetensors", folder_ / "x.safetensors");
  EXPECT_THAT(test::error_of(2, [&] { run("x.safetensors", "new", WeightFormat::pytorch); }),
              HasSubstr("give one by --config"));
}

TEST_F(ConvertTest, WritesOnnxOfFixedLayout) {
  const ConvertReport report = run("model", "x.onnx", WeightFormat::onnx);
  EXPECT_THAT(report.notes, Contains(HasSubstr("The pooler is left out")));
  const std::string file = test::read(folder_ / "x.onnx");
  for (const char* part : {"start_logits", "end_logits", "attention_mask", "LayerNormalization",
                           "qa_outputs.weight"}) {
    EXPECT_THAT(file, HasSubstr(part));
  }
  EXPECT_GT(file.size(), report.bytes);
  auto tensors = small_tensors();
  tensors.resize(tensors.size() - 2);
  write_weights(tensors);
  EXPECT_THAT(test::error_of(3, [&] { run("model", "y.onnx", WeightFormat::onnx); }),
              HasSubstr("has no span head"));
}

TEST_F(ConvertTest, ChecksTheShapesOfHeadsThatAreKept) {
  auto tensors = small_tensors();
  tensors.push_back({{"cls.predictions.bias", DataType::f32, {7}}, std::vector<float>(7)});
  tensors.push_back({{"cls.predictions.decoder.weight", DataType::f32, {16, 6}},
                     std::vector<float>(96)});  // padded
  tensors.push_back({{"classifier.weight", DataType::f32, {3, 5}}, std::vector<float>(15)});
  write_weights(tensors);
  const std::string text =
      test::error_of(3, [&] { run("model", "new", WeightFormat::safetensors); });
  EXPECT_THAT(text, HasSubstr("cls.predictions.bias has the shape [7] and should have [9] "
                              "(--heads pooler leaves it out)"));
  EXPECT_THAT(text, HasSubstr("classifier.weight has the shape [3,5] and should have [any,6]"));
  EXPECT_THAT(text, Not(HasSubstr("decoder")));
  run("model", "new", WeightFormat::safetensors, std::nullopt, Heads::pooler);
  EXPECT_FALSE(ModelFolder::open(folder_ / "model").lacks_head()) << "they are not asked";
}

TEST_F(ConvertTest, SaysWhereAllNamesAreThatItDoesNotShow) {
  auto tensors = small_tensors();
  for (char letter = 'a'; letter <= 'z'; ++letter) {
    tensors.push_back({{std::string(1, letter), DataType::f32, {1}}, {1}});
  }
  write_weights(tensors);
  EXPECT_THAT(run("model", "new", WeightFormat::safetensors).notes,
              Contains(HasSubstr("g, h and 18 more (bertrand inspect names all).")));
}

TEST_F(ConvertTest, FiniteValuesStayFinite) {
  auto tensors = small_tensors();
  tensors[0].second[3] = 3.4e38F;
  write_weights(tensors);
  EXPECT_THAT(
      test::error_of(1, [&] { run("model", "x.bin", WeightFormat::pytorch, DataType::bf16); }),
      HasSubstr("is too large for BF16; write F32 instead"));
  run("model", "x.bin", WeightFormat::pytorch, DataType::f32);

  std::vector<TensorInfo> infos;
  infos.reserve(tensors.size());
  for (const auto& [info, values] : tensors) {
    infos.push_back({info.name, DataType::f64, info.shape});
  }
  SafetensorsWriter writer(folder_ / "model/model.safetensors", infos);
  for (auto& [info, values] : tensors) {
    std::vector<double> wide(values.begin(), values.end());
    if (info.name == "qa_outputs.bias") wide = {std::numeric_limits<double>::infinity(), -1e300};
    writer.write_bytes(std::as_bytes(std::span(wide)));
  }
  writer.commit();
  for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16}) {
    EXPECT_THAT(test::error_of(1, [&] { run("model", "y.bin", WeightFormat::pytorch, type); }),
                HasSubstr("too large for " + std::string(name_of(type))));
  }
  EXPECT_THAT(test::error_of(1, [&] { run("model", "y.onnx", WeightFormat::onnx); }),
              HasSubstr("a value of \"qa_outputs.bias\", -1e+300, is too large for F32"));
  run("model", "y.bin", WeightFormat::pytorch);
  EXPECT_TRUE(contents_of(folder_ / "y.bin") == contents_of(folder_ / "model"));
}

TEST_F(ConvertTest, LooksAtTheVocabularyBeforeAnythingIsWritten) {
  ConvertOptions options;
  options.in = folder_ / "model";
  options.check_vocabulary = [](const std::filesystem::path& path, const BertConfig& config) {
    EXPECT_EQ(config.vocab_size, 9);
    throw Error(ErrorCode::bad_input, path.filename().string() + ": is none.");
  };
  const auto refused = [&] {
    return test::error_of(3, [&] { convert(options, [](uint64_t, uint64_t) {}); });
  };
  options.out = folder_ / "new";
  EXPECT_EQ(refused(), "vocab.txt: is none.");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "new"));
  options.out = folder_ / "x.safetensors";
  options.single_file = true;
  options.vocabulary = folder_ / "words.txt";
  EXPECT_EQ(refused(), "words.txt: is none.");
  options.vocabulary = folder_ / "absent";
  EXPECT_THAT(test::error_of(1, [&] { convert(options, [](uint64_t, uint64_t) {}); }),
              HasSubstr("absent: there is no such vocabulary"));
}

TEST_F(ConvertTest, WhatProgressThrowsLeavesNothing) {
  for (const char* out : {"new", "x.safetensors"}) {
    ConvertOptions options;
    options.in = folder_ / "model";
    options.out = folder_ / out;
    options.single_file = out[0] == 'x';
    const auto stop = [](uint64_t done, uint64_t all) {
      if (2 * done > all) throw Error(ErrorCode::runtime, "Enough.");
    };
    EXPECT_EQ(test::error_of(1, [&] { convert(options, stop); }), "Enough.");
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    const std::string name = entry.path().filename().string();
    EXPECT_TRUE(name == "model" || name == "words.txt") << name;
  }
}

TEST_F(ConvertTest, NamesTheFileThatWasToBeWritten) {
  auto tensors = small_tensors();
  tensors[0].second[3] = 1e5F;
  write_weights(tensors);
  EXPECT_THAT(
      test::error_of(1, [&] { run("model", "new", WeightFormat::safetensors, DataType::f16); }),
      HasSubstr((folder_ / "new/model.safetensors").string() + ": a value of"));
}

TEST_F(ConvertTest, NamesWhatThereIsWhereNothingIsOfABert) {
  std::vector<std::pair<TensorInfo, std::vector<float>>> tensors;
  for (const char* name : {"student.bert.x", "b", "c", "d"}) {
    tensors.push_back({{name, DataType::f32, {1}}, {1}});
  }
  write_weights(tensors);
  const auto refused = [&] {
    return test::error_of(3, [&] { run("model", "new", WeightFormat::safetensors); });
  };
  EXPECT_THAT(refused(), AllOf(HasSubstr("none of its 4 names is one of a BERT: "),
                               HasSubstr(" and 1 more (bertrand inspect names all)"),
                               Not(HasSubstr("missing"))));
  EXPECT_THAT(test::error_of(3, [&] { ModelFolder::open(folder_ / "model"); }),
              AllOf(HasSubstr("none of its 4 names"), Not(HasSubstr("missing"))));
  write_weights({{{"net/x/.ATTRIBUTES/VARIABLE_VALUE", DataType::f32, {1}}, {1}}});
  EXPECT_THAT(refused(), HasSubstr("TensorFlow 2 wrote it, by the names of a program's objects"));
}

TEST_F(ConvertTest, AFileWhereAFolderIsToBeIsWrongUsage) {
  std::filesystem::copy(folder_ / "words.txt", folder_ / "afile");
  EXPECT_THAT(test::error_of(2, [&] { run("model", "afile", WeightFormat::safetensors); }),
              HasSubstr("afile: is a file; give a folder"));
}

}  // namespace
}  // namespace bertrand
