#include "checkpoint/model_folder.h"

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/fixtures.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/small_model.h"

namespace bertrand {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

using test::kSeed;
using test::small_config;
using test::small_contents;

/// The tensors of a file by name, to be changed before they are written.
struct Stored {
  TensorInfo info;
  std::vector<float> values;
};
using Weights = std::map<std::string, Stored>;

Weights small_weights() {
  Weights weights;
  for (const ParameterInfo& info : bert_parameters(small_config())) {
    weights[info.name] = {{info.name, DataType::f32, info.shape}, test::small_values(info)};
  }
  return weights;
}

void rename(Weights& weights, const std::function<std::string(std::string)>& new_name) {
  for (auto& [name, stored] : weights) {
    stored.info.name = new_name(name);
  }
}

std::string replaced(std::string text, const std::string& old, const std::string& fresh) {
  const size_t place = text.find(old);
  return place == text.npos ? text : text.replace(place, old.size(), fresh);
}

void add(Weights& weights, const std::string& name, const std::vector<int64_t>& shape,
         float value = 0) {
  int64_t size = 1;
  for (const int64_t dimension : shape) {
    size *= dimension;
  }
  weights[name] = {{name, DataType::f32, shape},
                   std::vector<float>(static_cast<size_t>(size), value)};
}

void write_weights(const std::filesystem::path& path, const Weights& weights) {
  std::vector<TensorInfo> infos;
  for (const auto& [name, stored] : weights) {
    infos.push_back(stored.info);
  }
  SafetensorsWriter writer(path, infos);
  for (const auto& [name, stored] : weights) {
    writer.write(stored.values);
  }
  writer.commit();
}

class ModelFolderTest : public ::testing::Test {
 protected:
  ModelFolder open(const Weights& weights) {
    test::write(folder_ / "config.json", small_config().to_json());
    write_weights(folder_ / "model.safetensors", weights);
    return ModelFolder::open(folder_.path());
  }

  std::string refusal(const Weights& weights) {
    return test::error_of(3, [&] { open(weights); });
  }

  /// Every parameter of the folder, in order.
  static std::vector<std::vector<float>> read_all(const ModelFolder& folder, uint64_t seed) {
    std::vector<std::vector<float>> all;
    for (const ParameterInfo& info : bert_parameters(folder.config())) {
      all.emplace_back(static_cast<size_t>(info.size()));
      folder.parameters(seed)(info, all.back());
    }
    return all;
  }

  static std::vector<std::vector<float>> expected() {
    std::vector<std::vector<float>> all;
    for (const ParameterInfo& info : bert_parameters(small_config())) {
      all.push_back(test::small_values(info));
    }
    return all;
  }

  test::TemporaryFolder folder_;
};

TEST_F(ModelFolderTest, ReadsParameters) {
  const ModelFolder folder = open(small_weights());
  EXPECT_EQ(folder.path(), folder_.path());
  EXPECT_EQ(folder.vocabulary_path(), folder_ / "vocab.txt");
  EXPECT_EQ(folder.config().intermediate_size, 10);
  EXPECT_FALSE(folder.lacks_head());
  EXPECT_THAT(folder.extra_tensors(), IsEmpty());
  EXPECT_THAT(folder.pooler(), IsEmpty());
  EXPECT_EQ(folder.lower_case(), std::nullopt);
  EXPECT_EQ(read_all(folder, kSeed + 1), expected());
}

TEST_F(ModelFolderTest, ReaderOutlivesTheFolder) {
  const ParameterInfo info = bert_parameters(small_config())[0];
  const ParameterReader read = open(small_weights()).parameters(0);
  std::vector<float> values(static_cast<size_t>(info.size()));
  read(info, values);
  EXPECT_EQ(values, test::small_values(info));
}

TEST_F(ModelFolderTest, ReadsPartsOfParameters) {
  for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16, DataType::i8}) {
    test::TemporaryFolder written;
    ModelFolderContents contents = test::small_contents(written);
    contents.type = type;
    write_model_folder(written.path(), contents);
    const auto infos = bert_parameters(small_config());
    std::vector<StoredParameter> stored;
    std::vector<std::vector<float>> whole;
    {
      const ModelFolder folder = ModelFolder::open(written.path());
      whole = read_all(folder, 0);
      std::transform(infos.begin(), infos.end(), std::back_inserter(stored),
                     folder.stored_parameters(0));
    }
    for (size_t i = 0; i < infos.size(); ++i) {
      const std::vector<float>& all = whole[i];
      for (size_t first = 0; first < all.size(); ++first) {
        std::vector<float> part(std::min<size_t>(all.size() - first, 8));
        stored[i].read(first, part);
        EXPECT_TRUE(
            std::equal(part.begin(), part.end(), all.begin() + static_cast<std::ptrdiff_t>(first)))
            << infos[i].name << " from " << first;
      }
      std::vector<float> more(2);
      EXPECT_THAT(test::error_of(1, [&] { stored[i].read(all.size() - 1, more); }),
                  HasSubstr(infos[i].name));
      EXPECT_EQ(stored[i].int8.empty(), stored[i].scales.empty());
      const auto columns = static_cast<size_t>(infos[i].shape.back());
      for (size_t place = 0; place < stored[i].int8.size(); ++place) {
        EXPECT_EQ(static_cast<float>(stored[i].int8[place]) * stored[i].scales[place / columns],
                  all[place]);
      }
    }
    EXPECT_EQ(stored[0].int8.empty(), type != DataType::i8);
  }
}

TEST_F(ModelFolderTest, ReadsNamesWithoutPrefixAndOldNames) {
  Weights weights = small_weights();
  rename(weights, [](const std::string& name) {
    std::string old = replaced(name, "bert.", "");
    old = replaced(old, "LayerNorm.weight", "LayerNorm.gamma");
    return replaced(old, "LayerNorm.bias", "LayerNorm.beta");
  });
  EXPECT_EQ(read_all(open(weights), 0), expected());
}

TEST_F(ModelFolderTest, ReadsGooglesConfig) {
  test::write(folder_ / "bert_config.json", small_config().to_json());
  write_weights(folder_ / "model.safetensors", small_weights());
  EXPECT_EQ(ModelFolder::open(folder_.path()).config().vocab_size, 9);
}

TEST_F(ModelFolderTest, MakesTheHeadThatIsLacking) {
  Weights weights = small_weights();
  weights.erase("qa_outputs.weight");
  weights.erase("qa_outputs.bias");
  const ModelFolder folder = open(weights);
  EXPECT_TRUE(folder.lacks_head());
  EXPECT_EQ(read_all(folder, kSeed), expected());
  const auto other = read_all(folder, kSeed + 1);
  EXPECT_NE(other[other.size() - 2], expected()[other.size() - 2]);
  EXPECT_THAT(other.back(), ElementsAre(0, 0));
}

TEST_F(ModelFolderTest, NamesHalfAHead) {
  Weights weights = small_weights();
  weights.erase("qa_outputs.bias");
  EXPECT_THAT(refusal(weights), HasSubstr("qa_outputs.bias is missing"));
}

TEST_F(ModelFolderTest, KnowsExtraTensors) {
  Weights weights = small_weights();
  rename(weights, [](const std::string& name) { return replaced(name, "bert.", ""); });
  add(weights, "embeddings.position_ids", {1, 7});
  add(weights, "pooler.dense.weight", {6, 6}, 0.5F);
  add(weights, "pooler.dense.bias", {6}, 2);
  add(weights, "cls.predictions.bias", {9});
  add(weights, "classifier.weight", {3, 6});
  const ModelFolder folder = open(weights);
  EXPECT_THAT(
      folder.extra_tensors(),
      UnorderedElementsAre("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias",
                           "cls.predictions.bias", "classifier.weight"));
  const auto pooler = folder.pooler();
  ASSERT_EQ(pooler.size(), 2U);
  EXPECT_EQ(pooler.at("bert.pooler.dense.weight"), std::vector<float>(36, 0.5F));
  EXPECT_EQ(pooler.at("bert.pooler.dense.bias"), std::vector<float>(6, 2));
}

TEST_F(ModelFolderTest, NamesEveryTensorThatDoesNotFitAtOnce) {
  Weights weights = small_weights();
  weights.erase("bert.embeddings.LayerNorm.bias");
  weights.erase("bert.encoder.layer.1.output.dense.weight");
  weights["bert.embeddings.word_embeddings.weight"].info.shape = {6, 9};
  weights["qa_outputs.bias"].info.shape = {1, 2};
  add(weights, "bert.encoder.layer.2.output.dense.bias", {6});
  add(weights, "bert.pooler.dense.weight", {6, 5});
  EXPECT_EQ(
      refusal(weights),
      (folder_ / "model.safetensors").string() +
          ": its tensors are not those of the model that config.json describes:\n"
          "  bert.embeddings.LayerNorm.bias is missing\n"
          "  bert.encoder.layer.1.output.dense.weight is missing\n"
          "  bert.embeddings.word_embeddings.weight has the shape [6,9] and should have [9,6]\n"
          "  qa_outputs.bias has the shape [1,2] and should have [2]\n"
          "  bert.pooler.dense.weight has the shape [6,5] and should have [6,6]\n"
          "  bert.encoder.layer.2.output.dense.bias is not a part of this model\n"
          "Give weights and a config that belong together.");
}

TEST_F(ModelFolderTest, NamesTensorsOfWholeNumbers) {
  Weights weights = small_weights();
  Stored& bias = weights["qa_outputs.bias"];
  bias.info.type = DataType::i32;
  bias.values.clear();
  test::write(folder_ / "config.json", small_config().to_json());
  {
    std::vector<TensorInfo> infos;
    for (const auto& [name, stored] : weights) {
      infos.push_back(stored.info);
    }
    SafetensorsWriter writer(folder_ / "model.safetensors", infos);
    for (const auto& [name, stored] : weights) {
      stored.values.empty() ? writer.write_bytes(test::as_bytes("01234567"))
                            : writer.write(stored.values);
    }
    writer.commit();
  }
  EXPECT_THAT(test::error_of(3, [&] { ModelFolder::open(folder_.path()); }),
              HasSubstr("qa_outputs.bias holds I32 and should hold F32, F16 or BF16"));
}

TEST_F(ModelFolderTest, NamesTwoTensorsForOneParameter) {
  Weights weights = small_weights();
  add(weights, "embeddings.LayerNorm.gamma", {6});
  EXPECT_THAT(refusal(weights),
              AllOf(HasSubstr("bert.embeddings.LayerNorm.weight"), HasSubstr("is the same"),
                    HasSubstr("embeddings.LayerNorm.gamma"), Not(HasSubstr("missing"))));
}

TEST_F(ModelFolderTest, SaysWhatAFolderLacks) {
  EXPECT_THAT(test::error_of(1, [&] { ModelFolder::open(folder_ / "absent"); }),
              HasSubstr("absent: there is no such folder"));
  EXPECT_THAT(test::error_of(3, [&] { ModelFolder::open(folder_.path()); }),
              HasSubstr("holds neither config.json nor bert_config.json"));
  test::write(folder_ / "config.json", small_config().to_json());
  EXPECT_THAT(test::error_of(3, [&] { ModelFolder::open(folder_.path()); }),
              HasSubstr("holds no model.safetensors"));
  test::write(folder_ / "config.json", std::string(2 << 20, ' '));
  EXPECT_THAT(test::error_of(3, [&] { ModelFolder::open(folder_.path()); }),
              HasSubstr("config.json: has 2097152 bytes"));
  test::write(folder_ / "config.json", "{}");
  EXPECT_THAT(test::error_of(3, [&] { ModelFolder::open(folder_.path()); }),
              HasSubstr("config.json: \"hidden_size\" is missing"));
}

TEST_F(ModelFolderTest, ReadsLowerCase) {
  const auto lower_case = [&](const char* text) {
    test::write(folder_ / "tokenizer_config.json", text);
    return open(small_weights()).lower_case();
  };
  EXPECT_EQ(lower_case(R"({"do_lower_case": true})"), true);
  EXPECT_EQ(lower_case(R"({"do_lower_case": false})"), false);
  EXPECT_EQ(lower_case(R"({"do_lower_case": null})"), std::nullopt);
  EXPECT_EQ(lower_case("{}"), std::nullopt);
  EXPECT_THAT(test::error_of(3, [&] { lower_case(R"({"do_lower_case": 1})"); }),
              HasSubstr("tokenizer_config.json: \"do_lower_case\" must be true or false"));
  EXPECT_THAT(test::error_of(3, [&] { lower_case("{"); }), HasSubstr("is not valid JSON"));
}

TEST_F(ModelFolderTest, ReadsWhatIsWritten) {
  const test::TemporaryFolder source;
  ModelFolderContents contents = small_contents(source);
  contents.lower_case = false;
  contents.pooler = {{"bert.pooler.dense.weight", std::vector<float>(36, 3)},
                     {"bert.pooler.dense.bias", std::vector<float>(6, 4)}};
  write_model_folder(folder_.path(), contents);
  const ModelFolder folder = ModelFolder::open(folder_.path());
  EXPECT_EQ(folder.config().to_json(), small_config().to_json());
  EXPECT_EQ(folder.lower_case(), false);
  EXPECT_EQ(folder.pooler(), contents.pooler);
  EXPECT_EQ(read_all(folder, 0), expected());
  EXPECT_EQ(test::read(folder.vocabulary_path()), test::read(source / "words.txt"));

  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    names.push_back(entry.path().filename());
  }
  EXPECT_THAT(names, UnorderedElementsAre("config.json", "vocab.txt", "model.safetensors",
                                          "tokenizer_config.json", "special_tokens_map.json"));
  const auto tokenizer = nlohmann::json::parse(test::read(folder_ / "tokenizer_config.json"));
  EXPECT_EQ(tokenizer["tokenizer_class"], "BertTokenizer");
  EXPECT_EQ(tokenizer["model_max_length"], 7);
  EXPECT_EQ(tokenizer["cls_token"], "[CLS]");
}

TEST_F(ModelFolderTest, WritesTheReferencesForm) {
  const test::TemporaryFolder source;
  ModelFolderContents contents = small_contents(source);
  contents.pooler = {{"bert.pooler.dense.weight", std::vector<float>(36, 3)},
                     {"bert.pooler.dense.bias", std::vector<float>(6, 4)}};
  write_model_folder(folder_.path(), contents, ModelForm::reference);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "model.safetensors"));
  EXPECT_EQ(test::read(folder_ / "bert_config.json"), small_config().to_json());
  // Pickle of protocol 2: a dictionary, "model", an OrderedDict.
  EXPECT_THAT(test::read(folder_ / "pytorch_model.bin"),
              HasSubstr(std::string("\x80\x02}X\x05\0\0\0modelccollections\n", 26)));
  const ModelFolder folder = ModelFolder::open(folder_.path());
  EXPECT_EQ(read_all(folder, 0), expected());
  EXPECT_EQ(folder.pooler(), contents.pooler);
}

TEST_F(ModelFolderTest, OpensPartsThatLieApart) {
  Weights weights = small_weights();
  add(weights, "unheard.of", {2});
  write_weights(folder_ / "any.name", weights);
  test::write(folder_ / "sizes", small_config().to_json());
  const ModelFolder folder =
      ModelFolder::open(ModelFiles{folder_ / "any.name", folder_ / "sizes", folder_ / "words"});
  EXPECT_EQ(read_all(folder, 0), expected());
  EXPECT_EQ(folder.path(), folder_ / "any.name");
  EXPECT_EQ(folder.vocabulary_path(), folder_ / "words");
  EXPECT_EQ(folder.lower_case(), std::nullopt);
  EXPECT_THAT(folder.notes(), ElementsAre(HasSubstr("unheard.of")));

  weights.erase("bert.embeddings.LayerNorm.bias");
  write_weights(folder_ / "any.name", weights);
  EXPECT_THAT(test::error_of(3,
                             [&] {
                               ModelFolder::open(ModelFiles{folder_ / "any.name", folder_ / "sizes",
                                                            folder_ / "words"});
                             }),
              AllOf(HasSubstr("any.name"), HasSubstr("bert.embeddings.LayerNorm.bias")));
}

TEST_F(ModelFolderTest, WritesOverItself) {
  const test::TemporaryFolder source;
  ModelFolderContents contents = small_contents(source);
  write_model_folder(folder_.path(), contents);
  const ModelFolder before = ModelFolder::open(folder_.path());
  contents.vocabulary = before.vocabulary_path();
  contents.store_parameters = [&](const ParameterWriter& write) {
    for (const ParameterInfo& info : contents.parameters) {
      std::vector<float> values(static_cast<size_t>(info.size()));
      before.parameters(0)(info, values);
      write(info, values);
    }
  };
  write_model_folder(folder_.path(), contents);
  EXPECT_EQ(read_all(ModelFolder::open(folder_.path()), 0), expected());
  EXPECT_EQ(read_all(before, 0), expected());
  EXPECT_EQ(test::read(folder_ / "vocab.txt"), test::read(source / "words.txt"));
}

TEST_F(ModelFolderTest, WritesNarrowTypes) {
  const test::TemporaryFolder source;
  ModelFolderContents contents = small_contents(source);
  for (const DataType type : {DataType::f16, DataType::bf16}) {
    contents.type = type;
    write_model_folder(folder_.path(), contents);
    const auto all = read_all(ModelFolder::open(folder_.path()), 0);
    const auto wanted = expected();
    const double unit = type == DataType::f16 ? 0x1p-11 : 0x1p-8;
    for (size_t i = 0; i < all.size(); ++i) {
      for (size_t j = 0; j < all[i].size(); ++j) {
        EXPECT_NEAR(all[i][j], wanted[i][j], std::abs(wanted[i][j]) * unit + 0x1p-25);
      }
    }
  }
}

TEST_F(ModelFolderTest, RefusesParametersOutOfOrder) {
  const test::TemporaryFolder source;
  ModelFolderContents contents = small_contents(source);
  std::swap(contents.parameters[3], contents.parameters[4]);
  EXPECT_THAT(test::error_of(1, [&] { write_model_folder(folder_.path(), contents); }),
              HasSubstr("bert.embeddings.LayerNorm.weight is out of order"));
  contents = small_contents(source);
  contents.vocabulary = source / "absent.txt";
  EXPECT_THAT(test::error_of(1, [&] { write_model_folder(folder_.path(), contents); }),
              HasSubstr("absent.txt: cannot be opened"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "config.json"));
}

}  // namespace
}  // namespace bertrand
