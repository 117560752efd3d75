#pragma once

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "checkpoint/model_folder.h"
#include "small_engine.h"
#include "train/fine_tune.h"

namespace bertrand::test {

// 30 pieces, as many as the small config has.
inline constexpr const char* kPieces =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]"
    "\nthe\nriver\nred\nblue\nhouse\nwho\nwhere\nis\nin\na\nlives\n"
    "fox\nowl\nbear\nby\nnear\ntree\nhill\nlake\nsea\n.\n?\nold\nnew\ntown\n";

/// A data set of two paragraphs and six questions.
inline std::string small_squad() {
  const auto question = [](const char* id, const char* text, const char* answer, int start) {
    return nlohmann::json{
        {"id", id}, {"question", text}, {"answers", {{{"text", answer}, {"answer_start", start}}}}};
  };
  const nlohmann::json first = {{"context", "the red fox lives by the old tree ."},
                                {"qas",
                                 {question("1", "where lives the fox ?", "the old tree", 21),
                                  question("2", "who lives by the tree ?", "the red fox", 0),
                                  question("3", "where is the red fox ?", "by the old tree", 18)}}};
  const nlohmann::json second = {
      {"context", "the new town is near the blue lake ."},
      {"qas",
       {question("4", "where is the town ?", "the blue lake", 21),
        question("5", "where is the lake ?", "the new town", 0),
        question("6", "where is the new town ?", "near the blue lake", 16)}}};
  return nlohmann::json{{"version", "1.1"},
                        {"data", {{{"title", "t"}, {"paragraphs", {first, second}}}}}}
      .dump();
}

/// Whole runs in a folder of their own, on the small engine.
class FineTuneTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { set_up_logging(/*quiet=*/true); }

  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    root_ = std::filesystem::temp_directory_path() /
            (std::string("bertrand-tune-") + info->name() + "-" + std::to_string(::getpid()));
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_ / "model");
    write_file(root_ / "pieces.txt", kPieces);
    write_file(root_ / "squad.json", small_squad());
    BertConfig config = small_config();
    config.max_position_embeddings = 64;
    const SmallEngine engine = small_engine(config);
    ModelFolderContents contents;
    contents.config = config;
    contents.vocabulary = root_ / "pieces.txt";
    contents.parameters = engine.parameters();
    contents.store_parameters = [&](const ParameterWriter& write) {
      engine.store_parameters(write);
    };
    contents.pooler["bert.pooler.dense.weight"] = std::vector<float>(16, 0.5F);
    contents.pooler["bert.pooler.dense.bias"] = std::vector<float>(4, 0.25F);
    write_model_folder(root_ / "model", contents);

    options_.model = root_ / "model";
    options_.train = root_ / "squad.json";
    options_.out = root_ / "out";
    options_.recipe_values = {{"batch_size", "2"},      {"epochs", "3"},
                              {"learning_rate", "0.1"}, {"max_seq_length", "40"},
                              {"doc_stride", "8"},      {"max_query_length", "12"}};
    options_.make_engine = [](const BertConfig& some, Precision, unsigned) {
      return std::make_unique<SmallEngine>(some);
    };
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  static SmallEngine small_engine(const BertConfig& config) {
    SmallEngine engine(config);
    engine.load_parameters(small_weights(2));
    return engine;
  }

  /// Engines whose gradient is not finite after so many steps.
  static EngineMaker broken_after(uint64_t steps) {
    return [steps](const BertConfig& some, Precision, unsigned) {
      auto engine = std::make_unique<SmallEngine>(some);
      engine->broken_gradient_at = steps;
      return engine;
    };
  }

  nlohmann::json json(const char* name) const {
    return nlohmann::json::parse(read_file(options_.out / name));
  }

  std::string refused(ErrorCode code) const {
    try {
      fine_tune(options_);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code);
      return error.what();
    }
    ADD_FAILURE() << "was not refused";
    return {};
  }

  std::vector<std::string> names_in(const std::filesystem::path& folder) const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  std::filesystem::path root_;
  FineTuneOptions options_;
};

}  // namespace bertrand::test
