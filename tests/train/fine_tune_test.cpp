#include "train/fine_tune.h"

#include <filesystem>
#include <map>
#include <unistd.h>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "checkpoint/model_folder.h"
#include "fine_tune_fixture.h"
#include "small_engine.h"
#include "train/recipe.h"

namespace bertrand {
namespace {

namespace fs = std::filesystem;
using test::FineTuneTest;
using test::kPieces;
using test::small_squad;
using test::SmallEngine;
using testing::HasSubstr;

TEST_F(FineTuneTest, LeavesAModelWithAllAboutTheRun) {
  options_.dev = options_.train;
  EXPECT_EQ(fine_tune(options_), RunEnd::finished);
  const std::vector<std::string> names = names_in(options_.out);
  EXPECT_THAT(names, testing::IsSupersetOf({"config.json", "events.jsonl", "model.safetensors",
                                            "recipe.json", "run.json", "vocab.txt"}));
  EXPECT_THAT(names, testing::Not(testing::Contains("snapshot")));
  EXPECT_FALSE(ModelFolder::open(options_.out).lacks_head());
  EXPECT_TRUE(ModelFolder::open(options_.out).pooler().empty());
  EXPECT_EQ(json("recipe.json")["batch_size"], 2);
  const nlohmann::json run = json("run.json");
  EXPECT_EQ(run["finished"], true);
  EXPECT_EQ(run["steps"], 9);
  EXPECT_EQ(run["windows"], 6);
  EXPECT_TRUE(run["f1"].is_number());
  EXPECT_TRUE(run["exact_match"].is_number());
  EXPECT_FALSE(run["machine"]["system"].get<std::string>().empty());
}

TEST_F(FineTuneTest, TheReferenceRecipeKeepsThePooler) {
  options_.recipe = "reference";
  fine_tune(options_);
  EXPECT_EQ(ModelFolder::open(options_.out).pooler().at("bert.pooler.dense.bias"),
            std::vector<float>(4, 0.25F));
}

TEST_F(FineTuneTest, StoppedAndResumedItWritesTheSameBytes) {
  fine_tune(options_);
  const std::string whole = read_file(options_.out / "model.safetensors");
  options_.out = root_ / "parts";
  options_.run.stop_after_steps = 4;
  EXPECT_EQ(fine_tune(options_), RunEnd::stopped);
  EXPECT_FALSE(fs::exists(options_.out / "model.safetensors"));
  EXPECT_EQ(json("run.json")["finished"], false);
  options_.resume = true;
  EXPECT_EQ(fine_tune(options_), RunEnd::stopped);
  options_.run.stop_after_steps = 0;
  options_.recipe_values.clear();  // the run's own recipe is taken
  EXPECT_EQ(fine_tune(options_), RunEnd::finished);
  EXPECT_EQ(read_file(options_.out / "model.safetensors"), whole);
}

TEST_F(FineTuneTest, ASignalDuringTheEvaluationLosesNothing) {
  options_.dev = options_.train;
  fine_tune(options_);
  const std::string whole = read_file(options_.out / "model.safetensors");
  options_.out = root_ / "stopped";
  options_.run.signal = [this] { return fs::exists(options_.out / "model.safetensors") ? 15 : 0; };
  EXPECT_EQ(fine_tune(options_), RunEnd::stopped);
  EXPECT_EQ(json("run.json")["finished"], false);
  options_.run.signal = {};
  options_.resume = true;
  EXPECT_EQ(fine_tune(options_), RunEnd::finished);
  EXPECT_EQ(read_file(options_.out / "model.safetensors"), whole);
  EXPECT_TRUE(json("run.json")["f1"].is_number());
}

TEST_F(FineTuneTest, ResumeRefusesAnotherRecipeDataOrModel) {
  options_.run.stop_after_steps = 2;
  fine_tune(options_);
  options_.resume = true;
  const FineTuneOptions same = options_;
  options_.recipe_values["batch_size"] = "3";
  EXPECT_THAT(refused(ErrorCode::usage), HasSubstr("batch_size is 2, and now 3"));
  options_ = same;
  options_.recipe = "reference";
  EXPECT_THAT(refused(ErrorCode::usage), HasSubstr("\"reference\""));
  options_ = same;
  std::string text = small_squad();
  text.replace(text.find("lives by"), 5, "is in");
  write_file(root_ / "other.json", text);
  options_.train = root_ / "other.json";
  EXPECT_THAT(refused(ErrorCode::usage), HasSubstr("other windows"));
  options_ = same;
  options_.model = options_.out / "snapshot";
  EXPECT_THAT(refused(ErrorCode::usage), HasSubstr("another model"));
}

TEST_F(FineTuneTest, AutoIsChosenOnceARunAndKept) {
  Precision found = Precision::bf16;
  int asked = 0;
  std::vector<Precision> made;
  options_.choose_precision = [&](const BertConfig&, unsigned) {
    ++asked;
    return PrecisionChoice{found, {}};
  };
  options_.make_engine = [&](const BertConfig& some, Precision precision, unsigned) {
    made.push_back(precision);
    return std::make_unique<SmallEngine>(some);
  };
  fine_tune(options_);  // without auto nothing is measured
  EXPECT_EQ(asked, 0);
  EXPECT_EQ(std::exchange(made, {}), std::vector{Precision::fp32});
  options_.out = root_ / "auto";
  options_.recipe_values["precision"] = "auto";
  options_.run.stop_after_steps = 2;
  EXPECT_EQ(fine_tune(options_), RunEnd::stopped);
  EXPECT_EQ(json("recipe.json")["precision"], "bf16");
  EXPECT_EQ(json("snapshot/training.json")["recipe"]["precision"], "bf16");
  EXPECT_EQ(json("run.json")["precision"], "bf16");
  found = Precision::fp32;  // the machine is another one, or busy
  options_.resume = true;
  EXPECT_EQ(fine_tune(options_), RunEnd::stopped);  // told auto again
  options_.run.stop_after_steps = 0;
  options_.recipe_values.clear();
  EXPECT_EQ(fine_tune(options_), RunEnd::finished);
  EXPECT_EQ(json("recipe.json")["precision"], "bf16");
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(made, std::vector<Precision>(3, Precision::bf16));
}

TEST_F(FineTuneTest, AnotherDropoutKeyIsTold) {
  const auto told = [&] {
    testing::internal::CaptureStderr();
    fine_tune(options_);
    return testing::internal::GetCapturedStderr();
  };
  options_.dropout_key = "device";
  options_.run.stop_after_steps = 1;
  fine_tune(options_);
  EXPECT_EQ(json("run.json")["dropout_key"], "device");
  EXPECT_EQ(json("snapshot/training.json")["dropout_key"], "device");
  options_.resume = true;
  EXPECT_EQ(told(), "");
  options_.dropout_key = "example";
  EXPECT_THAT(told(), HasSubstr("begun with --dropout-key device and goes on with example"));
  EXPECT_EQ(json("snapshot/training.json")["dropout_key"], "example");

  // Snapshots of earlier programs do not say.
  nlohmann::json state = json("snapshot/training.json");
  state.erase("dropout_key");
  write_file(options_.out / "snapshot/training.json", state.dump());
  EXPECT_EQ(told(), "");
}

TEST_F(FineTuneTest, ResumeNeedsASnapshot) {
  options_.resume = true;
  EXPECT_THAT(refused(ErrorCode::usage), HasSubstr("no snapshot"));
  options_.resume = false;
  fine_tune(options_);
  options_.resume = true;
  EXPECT_THAT(refused(ErrorCode::usage), HasSubstr("no snapshot"));
}

TEST_F(FineTuneTest, AFolderThatIsNotEmptyIsLeftAlone) {
  fs::create_directories(options_.out);
  write_file(options_.out / "notes.txt", "mine");
  EXPECT_THAT(refused(ErrorCode::usage), HasSubstr("--overwrite"));
  EXPECT_EQ(names_in(options_.out), std::vector<std::string>{"notes.txt"});
  options_.overwrite = true;
  EXPECT_EQ(fine_tune(options_), RunEnd::finished);
  EXPECT_EQ(read_file(options_.out / "notes.txt"), "mine");
  options_.out = root_ / "squad.json";
  EXPECT_THAT(refused(ErrorCode::usage), HasSubstr("not a folder"));
}

TEST_F(FineTuneTest, OverwriteBeginsAnew) {
  options_.run.stop_after_steps = 2;
  fine_tune(options_);
  options_.overwrite = true;
  options_.run.stop_after_steps = 0;
  fine_tune(options_);
  const std::string events = read_file(options_.out / "events.jsonl");
  EXPECT_EQ(std::count(events.begin(), events.end(), '\n'), 1 + 9);
  EXPECT_FALSE(fs::exists(options_.out / "snapshot"));
}

TEST_F(FineTuneTest, BadInputLeavesNothingBehind) {
  write_file(root_ / "bad.json", "{");
  options_.dev = root_ / "bad.json";
  EXPECT_THAT(refused(ErrorCode::bad_input), HasSubstr("bad.json"));
  EXPECT_FALSE(fs::exists(options_.out));
  options_.dev.clear();
  options_.recipe_values["batch_size"] = "0";
  EXPECT_THAT(refused(ErrorCode::usage), HasSubstr("--batch-size"));
  EXPECT_FALSE(fs::exists(options_.out));
}

TEST_F(FineTuneTest, ADevFileIsRefusedBeforeTheTraining) {
  nlohmann::json squad = nlohmann::json::parse(small_squad());
  squad["data"][0]["paragraphs"][1]["qas"][2].erase("answers");
  write_file(root_ / "questions.json", squad.dump());
  options_.dev = root_ / "questions.json";
  const std::string place = "data[0].paragraphs[1].qas[2]";
  EXPECT_THAT(refused(ErrorCode::bad_input),
              testing::AllOf(HasSubstr("questions.json: " + place), HasSubstr("answer")));
  write_file(root_ / "questions.json", R"({"data": []})");
  EXPECT_THAT(refused(ErrorCode::bad_input), HasSubstr("questions.json: has no question"));
  EXPECT_FALSE(fs::exists(options_.out));
}

TEST_F(FineTuneTest, TheModelToBeginFromIsNotOverwritten) {
  options_.overwrite = true;
  const std::string weights = read_file(options_.model / "model.safetensors");
  for (const fs::path& out : {options_.model, root_ / "model/", root_}) {
    options_.out = out;
    EXPECT_THAT(refused(ErrorCode::usage), HasSubstr("model to begin from"));
  }
  fs::create_directory_symlink(options_.model, root_ / "link");
  options_.out = root_ / "link";
  EXPECT_THAT(refused(ErrorCode::usage), HasSubstr("model to begin from"));
  EXPECT_EQ(read_file(options_.model / "model.safetensors"), weights);
}

TEST_F(FineTuneTest, AnOverwrittenRunStaysWhereTheNewOneFails) {
  fine_tune(options_);
  const auto all_of_out = [this] {
    std::map<std::string, std::string> all;
    for (const std::string& name : names_in(options_.out)) {
      all[name] = read_file(options_.out / name);
    }
    return all;
  };
  const auto before = all_of_out();
  options_.overwrite = true;
  options_.make_engine = broken_after(3);
  EXPECT_THAT(refused(ErrorCode::runtime), HasSubstr("Step 4"));
  EXPECT_EQ(all_of_out(), before);
}

TEST_F(FineTuneTest, ARunThatFailsLeavesNothing) {
  const EngineMaker good = options_.make_engine;
  options_.make_engine = broken_after(3);
  options_.out = root_ / "new" / "out";
  refused(ErrorCode::runtime);
  EXPECT_FALSE(fs::exists(root_ / "new"));
  fs::create_directories(options_.out);
  refused(ErrorCode::runtime);
  EXPECT_TRUE(fs::is_empty(options_.out));
  options_.make_engine = good;
  EXPECT_EQ(fine_tune(options_), RunEnd::finished);
}

TEST_F(FineTuneTest, ARunThatFailsAfterASnapshotCanGoOn) {
  fine_tune(options_);
  const std::string whole = read_file(options_.out / "model.safetensors");
  const EngineMaker good = options_.make_engine;
  options_.out = root_ / "broken";
  options_.run.snapshot_every = 2;
  options_.make_engine = broken_after(3);
  EXPECT_THAT(refused(ErrorCode::runtime), HasSubstr("--resume"));
  options_.make_engine = good;
  options_.resume = true;
  EXPECT_EQ(fine_tune(options_), RunEnd::finished);
  EXPECT_EQ(read_file(options_.out / "model.safetensors"), whole);
}

TEST_F(FineTuneTest, QuestionsAboutAnEmptyContextAreCounted) {
  nlohmann::json squad = nlohmann::json::parse(small_squad());
  squad["data"][0]["paragraphs"][1]["context"] = " ";
  write_file(root_ / "empty.json", squad.dump());
  options_.train = root_ / "empty.json";
  fine_tune(options_);
  EXPECT_EQ(json("run.json")["questions_about_empty_contexts"], 3);
  EXPECT_EQ(json("run.json")["windows"], 3);
}

TEST_F(FineTuneTest, AModelFolderWithoutVocabularyIsABadInput) {
  fs::remove(options_.model / "vocab.txt");
  EXPECT_THAT(refused(ErrorCode::bad_input), HasSubstr("holds no vocab.txt"));
}

TEST_F(FineTuneTest, AVocabularyTooLargeForTheModelIsRefused) {
  write_file(options_.model / "vocab.txt", std::string(kPieces) + "one\nmore\n");
  EXPECT_THAT(refused(ErrorCode::bad_input), HasSubstr("32 pieces"));
}

TEST_F(FineTuneTest, WindowsLongerThanTheModelsPositionsAreRefused) {
  options_.recipe_values["max_seq_length"] = "65";
  EXPECT_THAT(refused(ErrorCode::usage), HasSubstr("--max-seq-length: 65"));
}

TEST_F(FineTuneTest, TrainsOnSomeWindowsOnly) {
  options_.recipe_values["max_train_windows"] = "4";
  fine_tune(options_);
  EXPECT_EQ(json("run.json")["windows"], 4);
  EXPECT_EQ(json("run.json")["steps"], 6);
}

TEST_F(FineTuneTest, WritesTheTypeAskedFor) {
  options_.weights_type = DataType::f16;
  fine_tune(options_);
  EXPECT_LT(fs::file_size(options_.out / "model.safetensors") + 1000,
            fs::file_size(options_.model / "model.safetensors"));
  EXPECT_FALSE(ModelFolder::open(options_.out).lacks_head());
}

}  // namespace
}  // namespace bertrand
