// What becomes of what lies in the folder that a model is converted into.
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/convert.h"
#include "checkpoint/fixtures.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/small_model.h"

namespace bertrand {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

namespace fs = std::filesystem;

/// Names and contents of the files of a folder.
std::map<std::string, std::string> files_in(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    files[entry.path().filename().string()] = test::read(entry.path());
  }
  return files;
}

class ConvertPlaceTest : public ::testing::Test {
 protected:
  ConvertPlaceTest() {
    contents_ = test::small_contents(folder_);
    make("model", contents_);
    ModelFolderContents other = contents_;
    other.config.layer_norm_eps = 1e-5;
    make("other", other);
  }

  void make(const char* name, const ModelFolderContents& contents) {
    fs::create_directory(folder_ / name);
    write_model_folder(folder_ / name, contents);
  }

  ConvertReport run(const std::string& in, const std::string& out, bool overwrite = false,
                    WeightFormat format = WeightFormat::safetensors) {
    ConvertOptions options;
    options.in = folder_ / in;
    options.out = folder_ / out;
    options.format = format;
    options.overwrite = overwrite;
    options.single_file = out.find('.') != std::string::npos;
    return convert(options, [](uint64_t, uint64_t) {});
  }

  /// Wrong usage that leaves OUT as it was.
  std::string refusal(const std::string& in, const std::string& out,
                      WeightFormat format = WeightFormat::safetensors) {
    const auto before = files_in(folder_ / out);
    std::string text = test::error_of(2, [&] { run(in, out, /*overwrite=*/false, format); });
    EXPECT_TRUE(files_in(folder_ / out) == before);
    return text;
  }

  test::TemporaryFolder folder_;
  ModelFolderContents contents_;
};

TEST_F(ConvertPlaceTest, AModelIsReplacedOnlyWhereAskedFor) {
  EXPECT_THAT(refusal("other", "model"),
              HasSubstr("config.json, model.safetensors. Give another folder, or --overwrite."));
  const auto report = run("other", "model", /*overwrite=*/true);
  EXPECT_TRUE(files_in(folder_ / "model") == files_in(folder_ / "other"));
  EXPECT_THAT(report.notes, IsEmpty());
}

TEST_F(ConvertPlaceTest, TheModelItselfIsReplacedOnlyWhereAskedFor) {
  EXPECT_THAT(refusal("model", "model"), HasSubstr("would be replaced: model.safetensors."));
  run("model", "x.safetensors");
  fs::copy(folder_ / "model/config.json", folder_ / "config.json");
  run("model", "x.safetensors");  // as a copy is written again
  fs::create_symlink(folder_ / "x.safetensors", folder_ / "link.safetensors");
  for (const char* in : {"x.safetensors", "link.safetensors"}) {
    EXPECT_THAT(test::error_of(2, [&] { run(in, "x.safetensors"); }),
                HasSubstr("is what is to be converted"));
  }
  run("x.safetensors", "x.safetensors", /*overwrite=*/true);
  run("model", "model", /*overwrite=*/true);
  EXPECT_FALSE(ModelFolder::open(folder_ / "model").lacks_head());
}

TEST_F(ConvertPlaceTest, AnotherFormatGoesBesideTheSameModel) {
  test::write(folder_ / "model/tokenizer.json", "{}");
  auto before = files_in(folder_ / "model");
  const auto report = run("model", "model", /*overwrite=*/false, WeightFormat::pytorch);
  EXPECT_THAT(report.notes, Contains(HasSubstr("also holds model.safetensors, which is read")));
  auto after = files_in(folder_ / "model");
  EXPECT_EQ(after.erase("pytorch_model.bin"), 1U);
  EXPECT_TRUE(after == before);
  EXPECT_THAT(refusal("other", "model", WeightFormat::onnx),
              HasSubstr("config.json, model.safetensors, pytorch_model.bin."));
}

TEST_F(ConvertPlaceTest, WhatDoesNotFitGoes) {
  test::write(folder_ / "words.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nc\nb\nB\n##d\n");
  ModelFolderContents third = contents_;
  third.config.layer_norm_eps = 1e-6;
  make("third", third);
  test::write(folder_ / "model/tokenizer.json", "{}");
  test::write(folder_ / "model/notes.txt", "mine");
  fs::copy(folder_ / "model/config.json", folder_ / "model/bert_config.json");
  EXPECT_THAT(refusal("third", "model", WeightFormat::pytorch),
              AllOf(HasSubstr("bert_config.json"), HasSubstr("vocab.txt"),
                    HasSubstr("tokenizer.json"), Not(HasSubstr("notes.txt"))));
  const auto report = run("third", "model", /*overwrite=*/true, WeightFormat::pytorch);
  EXPECT_THAT(
      report.notes,
      Contains(HasSubstr("are removed: bert_config.json, model.safetensors, tokenizer.json.")));
  auto after = files_in(folder_ / "model");
  EXPECT_EQ(after["notes.txt"], "mine");
  EXPECT_EQ(after.size(), 6U) << "and the five of a model";
  EXPECT_EQ(after["vocab.txt"], test::read(folder_ / "third/vocab.txt"));
}

TEST_F(ConvertPlaceTest, AnIndexGoesWithItsParts) {
  const fs::path model = folder_ / "other";
  fs::rename(model / "model.safetensors", model / "model-00001-of-00001.safetensors");
  nlohmann::json map;
  for (const ParameterInfo& info : contents_.parameters) {
    map[info.name] = "model-00001-of-00001.safetensors";
  }
  test::write(model / "model.safetensors.index.json", nlohmann::json{{"weight_map", map}}.dump());
  EXPECT_THAT(refusal("model", "other"), HasSubstr("model.safetensors.index.json"));
  run("model", "other", /*overwrite=*/true);
  EXPECT_TRUE(files_in(folder_ / "other") == files_in(folder_ / "model"));
}

TEST_F(ConvertPlaceTest, TellsTheTruthAboutTheVocabulary) {
  fs::remove(folder_ / "model/vocab.txt");
  fs::copy(folder_ / "model", folder_ / "same");
  fs::remove(folder_ / "same/model.safetensors");
  const auto noted = [&](const std::string& out, bool overwrite = false) {
    return run("model", out, overwrite).notes;
  };
  EXPECT_THAT(noted("new"), Contains(HasSubstr("the folder has none either")));
  test::write(folder_ / "same/vocab.txt", "[UNK]\n");
  EXPECT_THAT(noted("same"), Contains(HasSubstr("same stays; give the vocabulary by --vocab")));
  EXPECT_EQ(test::read(folder_ / "same/vocab.txt"), "[UNK]\n");
  EXPECT_THAT(refusal("model", "other"), HasSubstr("vocab.txt, tokenizer_config.json"));
  EXPECT_THAT(noted("other", /*overwrite=*/true),
              AllOf(Contains(HasSubstr("are removed: vocab.txt, tokenizer_config.json")),
                    Contains(HasSubstr("the folder has none either"))));
  EXPECT_FALSE(fs::exists(folder_ / "other/vocab.txt"));
}

TEST_F(ConvertPlaceTest, FoldersWithOtherThingsAreFree) {
  fs::create_directory(folder_ / "new");
  test::write(folder_ / "new/notes.txt", "mine");
  run("model", "new");
  auto files = files_in(folder_ / "new");
  EXPECT_EQ(files.erase("notes.txt"), 1U);
  EXPECT_TRUE(files == files_in(folder_ / "model"));
}

/// The small model with these tensors instead of its span head, and these keys in its config.
class ConvertedConfigTest : public ConvertPlaceTest {
 protected:
  nlohmann::json config_with(const std::map<std::string, std::vector<int64_t>>& heads,
                             const nlohmann::json& keys = nlohmann::json::object()) {
    std::vector<TensorInfo> infos;
    for (const ParameterInfo& info : contents_.parameters) {
      if (!info.name.starts_with("qa_outputs.") || heads.empty()) {
        infos.push_back({info.name, DataType::f32, info.shape});
      }
    }
    for (const auto& [name, shape] : heads) {
      if (!shape.empty()) infos.push_back({name, DataType::f32, shape});
    }
    SafetensorsWriter writer(folder_ / "model/model.safetensors", infos);
    for (const TensorInfo& info : infos) {
      writer.write(std::vector<float>(static_cast<size_t>(info.size())));
    }
    writer.commit();
    auto config = nlohmann::json::parse(test::small_config().to_json());
    config.update(keys);
    test::write(folder_ / "model/config.json", config.dump());
    run("model", "new", /*overwrite=*/true);
    return nlohmann::json::parse(test::read(folder_ / "new/config.json"));
  }
};

TEST_F(ConvertedConfigTest, NamesTheClassWhoseHeadsAreThere) {
  const auto of = [&](const std::map<std::string, std::vector<int64_t>>& heads) {
    return config_with(heads)["architectures"][0].get<std::string>();
  };
  EXPECT_EQ(of({}), "BertForQuestionAnswering");
  EXPECT_EQ(of({{"", {}}}), "BertModel");
  EXPECT_EQ(of({{"cls.seq_relationship.bias", {2}}}), "BertForNextSentencePrediction");
  EXPECT_EQ(of({{"cls.predictions.bias", {9}}}), "BertForMaskedLM");
  EXPECT_EQ(of({{"cls.predictions.bias", {9}}, {"cls.seq_relationship.bias", {2}}}),
            "BertForPreTraining");
  EXPECT_EQ(of({{"classifier.weight", {2, 6}}}), "BertForSequenceClassification");
}

TEST_F(ConvertedConfigTest, KeepsADecoderOfItsOwn) {
  const nlohmann::json given = {{"tie_word_embeddings", false}};
  const std::map<std::string, std::vector<int64_t>> decoder = {
      {"cls.predictions.decoder.weight", {9, 6}}};
  EXPECT_EQ(config_with(decoder, given)["tie_word_embeddings"], false);
  EXPECT_FALSE(config_with(decoder).contains("tie_word_embeddings"));
  EXPECT_FALSE(config_with({}, given).contains("tie_word_embeddings")) << "there is none";
}

TEST_F(ConvertedConfigTest, KeepsWhatAClassifierNeeds) {
  const nlohmann::json keys = {{"id2label", {{"0", "no"}, {"1", "so"}, {"2", "yes"}}},
                               {"label2id", {{"no", 0}, {"so", 1}, {"yes", 2}}},
                               {"problem_type", "single_label_classification"},
                               {"classifier_dropout", 0.25}};
  auto given = keys;
  given["architectures"] = {"BertForTokenClassification"};
  given["model_name"] = "mine";
  auto config = config_with({{"classifier.weight", {3, 6}}}, given);
  for (const auto& [key, value] : keys.items()) EXPECT_EQ(config[key], value);
  EXPECT_EQ(config["architectures"][0], "BertForTokenClassification");
  EXPECT_FALSE(config.contains("model_name"));
  config = config_with({}, given);
  EXPECT_FALSE(config.contains("id2label")) << "no classifier is kept";
  // With a span head as well: there is one number of classes for both.
  const std::map<std::string, std::vector<int64_t>> both = {
      {"classifier.weight", {3, 6}}, {"qa_outputs.bias", {2}}, {"qa_outputs.weight", {2, 6}}};
  config = config_with(both, given);
  EXPECT_EQ(config["architectures"][0], "BertForTokenClassification");
  EXPECT_EQ(config["id2label"].size(), 3U);
  config = config_with(both, keys);
  EXPECT_EQ(config["architectures"][0], "BertForQuestionAnswering");
  EXPECT_FALSE(config.contains("id2label"));
  config = config_with({{"classifier.weight", {3, 6}}});
  EXPECT_EQ(config["id2label"]["2"], "LABEL_2") << "Google's config names none";
  EXPECT_EQ(config["label2id"]["LABEL_2"], 2);
}

}  // namespace
}  // namespace bertrand
