#include "train/run.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "small_engine.h"
#include "small_windows.h"
#include "train/fingerprint.h"

namespace bertrand {
namespace {

namespace fs = std::filesystem;
using test::SmallEngine;
using test::SmallWindows;
using testing::HasSubstr;

/// A run on a small engine in a folder of its own.
class RunTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    out_ = fs::temp_directory_path() /
           (std::string("bertrand-run-") + info->name() + "-" + std::to_string(::getpid()));
    fs::remove_all(out_);
    fs::create_directories(out_);
    write_file(out_ / "pieces.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
    recipe_ = named_recipe("modern", test::small_config());
    recipe_.batch_size = 4;
    recipe_.learning_rate = 0.05;
    recipe_.seed = 11;
    options_.snapshot = out_ / "snapshot";
  }
  void TearDown() override { fs::remove_all(out_); }

  struct Part {
    std::unique_ptr<SmallEngine> engine = std::make_unique<SmallEngine>(test::small_config());
    RunState state;
    RunEnd end = RunEnd::stopped;
  };

  /// Begins the run, or goes on from the snapshot.
  Part run(bool resume, const std::function<void(SmallEngine&)>& prepare = {}) {
    Part part;
    if (resume) {
      part.state = read_snapshot_state(options_.snapshot);
      load_snapshot(options_.snapshot, part.state, *part.engine);
    } else {
      part.engine->load_parameters(test::small_weights(1));
      part.state.recipe = recipe_;
      part.state.data_fingerprint = fingerprint_of(windows_.all());
    }
    if (prepare) {
      prepare(*part.engine);
    }
    ModelFolderContents contents;
    contents.config = test::small_config();
    contents.vocabulary = out_ / "pieces.txt";
    contents.parameters = part.engine->parameters();
    contents.store_parameters = [&](const ParameterWriter& write) {
      part.engine->store_parameters(write);
    };
    Trainer trainer(*part.engine, windows_.all(), part.state.recipe);
    RunLog log(out_ / "events.jsonl", part.state.steps);
    Progress progress(nullptr, false);
    part.end = run_training(trainer, part.state, contents, &log, progress, options_);
    return part;
  }

  static std::vector<float> all_of(const Engine& engine) {
    std::vector<float> all;
    const auto append = [&](const ParameterInfo&, std::span<const float> values) {
      all.insert(all.end(), values.begin(), values.end());
    };
    engine.store_parameters(append);
    engine.store_moments(Moment::first, append);
    engine.store_moments(Moment::second, append);
    return all;
  }

  std::vector<nlohmann::json> events() const {
    std::vector<nlohmann::json> all;
    std::ifstream file(out_ / "events.jsonl");
    for (std::string line; std::getline(file, line);) {
      all.push_back(nlohmann::json::parse(line));
    }
    return all;
  }

  /// The losses told, by step.
  std::map<uint64_t, double> losses() const {
    std::map<uint64_t, double> found;
    for (const auto& event : events()) {
      if (event["event"] == "step") {
        EXPECT_EQ(found.count(event["step"].get<uint64_t>()), 0U);
        found[event["step"].get<uint64_t>()] = event["loss"].get<double>();
      }
    }
    return found;
  }

  std::vector<std::string> names_in_out() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(out_)) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

  fs::path out_;
  SmallWindows windows_{30};
  Recipe recipe_;
  RunOptions options_;
};

TEST_F(RunTest, FinishesAndTellsEveryStep) {
  const Part part = run(/*resume=*/false);
  EXPECT_EQ(part.end, RunEnd::finished);
  EXPECT_EQ(part.state.steps, 16U);
  EXPECT_EQ(losses().size(), 16U);
  const auto all = events();
  EXPECT_EQ(all.front()["event"], "begin");
  EXPECT_EQ(all[1]["learning_rate"], 0.0);
  EXPECT_EQ(all[8]["epoch"], 0);
  EXPECT_EQ(all[9]["epoch"], 1);
  EXPECT_EQ(all[1]["windows"].get<int>() * 7 + 2, 30);
}

TEST_F(RunTest, AResumedRunGivesTheSameBits) {
  const Part whole = run(false);
  const auto whole_losses = losses();
  for (const uint64_t stop : {1U, 5U, 8U, 15U}) {
    options_.stop_after_steps = stop;
    const Part first = run(false);
    EXPECT_EQ(first.end, RunEnd::stopped);
    EXPECT_EQ(first.state.steps, stop);
    options_.stop_after_steps = 0;
    const Part second = run(/*resume=*/true);
    EXPECT_EQ(second.end, RunEnd::finished);
    EXPECT_EQ(all_of(*second.engine), all_of(*whole.engine)) << "stopped after " << stop;
    EXPECT_EQ(losses(), whole_losses);
    EXPECT_EQ(second.state.mean_loss, whole.state.mean_loss);
  }
}

TEST_F(RunTest, SoDoesTheReferenceRecipeResumedTwice) {
  recipe_ = named_recipe("reference", test::small_config());
  recipe_.learning_rate = 0.01;
  const Part whole = run(false);
  options_.stop_after_steps = 6;
  run(false);
  run(true);
  const Part last = run(true);
  EXPECT_EQ(last.state.steps, 16U);
  EXPECT_EQ(all_of(*last.engine), all_of(*whole.engine));
}

TEST_F(RunTest, AKilledRunGoesOnFromItsLastSnapshot) {
  const Part whole = run(false);
  options_.snapshot_every = 5;
  // Breaks down in its twelfth step, as if killed: the events know eleven, the snapshot ten.
  EXPECT_THROW(run(false, [](SmallEngine& engine) { engine.broken_loss_at = 11; }), Error);
  EXPECT_EQ(losses().size(), 11U);
  EXPECT_EQ(read_snapshot_state(options_.snapshot).steps, 10U);
  const Part second = run(true);
  EXPECT_EQ(all_of(*second.engine), all_of(*whole.engine));
  EXPECT_EQ(losses().size(), 16U);
}

TEST_F(RunTest, AnErrorSaysWhichSnapshotIsLeft) {
  options_.snapshot_every = 5;
  try {
    run(false, [](SmallEngine& engine) { engine.broken_gradient_at = 7; });
    FAIL() << "went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::runtime);
    EXPECT_THAT(error.what(), HasSubstr("Step 8: the gradient"));
    EXPECT_THAT(error.what(), HasSubstr("The snapshot of step 5 is kept"));
  }
}

TEST_F(RunTest, AnErrorBeforeTheFirstSnapshotPromisesNone) {
  try {
    run(false, [](SmallEngine& engine) { engine.broken_gradient_at = 0; });
    FAIL() << "went on";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), Not(HasSubstr("snapshot")));
  }
}

TEST_F(RunTest, ASignalStopsWithASnapshotInTheMiddleOfAStep) {
  const Part whole = run(false);
  int asked = 0;
  options_.signal = [&] { return ++asked > 9 ? 15 : 0; };
  const Part first = run(false);
  EXPECT_EQ(first.end, RunEnd::stopped);
  EXPECT_GT(first.state.steps, 0U);
  EXPECT_LT(first.state.steps, 10U);
  EXPECT_EQ(events().back()["event"], "stop");
  options_.signal = {};
  EXPECT_EQ(all_of(*run(true).engine), all_of(*whole.engine));
}

TEST_F(RunTest, ASignalBeforeTheFirstStepStillLeavesASnapshot) {
  const Part whole = run(false);
  options_.signal = [] { return 2; };
  EXPECT_EQ(run(false).end, RunEnd::stopped);
  options_.signal = {};
  EXPECT_EQ(all_of(*run(true).engine), all_of(*whole.engine));
}

TEST_F(RunTest, EventsMayTellSeveralStepsAtOnce) {
  run(false);
  const auto each = losses();
  options_.log_every = 5;
  run(false);
  const auto joined = losses();
  ASSERT_EQ(joined.size(), 4U);  // after 5, 10, 15 and, at the end, 16
  EXPECT_NEAR(joined.at(5), (each.at(1) + each.at(2) + each.at(3) + each.at(4) + each.at(5)) / 5,
              1e-12);
  EXPECT_EQ(joined.at(16), each.at(16));
}

TEST_F(RunTest, ASnapshotIsAModelFolder) {
  options_.stop_after_steps = 3;
  const Part part = run(false);
  const ModelFolder folder = ModelFolder::open(options_.snapshot);
  EXPECT_EQ(folder.config().hidden_size, 4);
  EXPECT_FALSE(folder.lacks_head());
}

TEST_F(RunTest, NothingIsLeftBesideASnapshot) {
  options_.snapshot_every = 2;
  run(false);
  EXPECT_THAT(names_in_out(),
              testing::UnorderedElementsAre("pieces.txt", "events.jsonl", "snapshot"));
}

TEST_F(RunTest, WhatAKillLeavesOfASnapshotIsPutInOrder) {
  options_.stop_after_steps = 3;
  run(false);
  fs::create_directories(out_ / "snapshot.partial-1-0");
  EXPECT_TRUE(find_snapshot(options_.snapshot));
  fs::rename(out_ / "snapshot", out_ / "snapshot.old-1-1");
  fs::create_directories(out_ / "snapshot.partial-1-0");
  EXPECT_TRUE(find_snapshot(options_.snapshot));
  EXPECT_THAT(names_in_out(),
              testing::UnorderedElementsAre("pieces.txt", "events.jsonl", "snapshot"));
  EXPECT_EQ(read_snapshot_state(options_.snapshot).steps, 3U);
  fs::remove_all(options_.snapshot);
  EXPECT_FALSE(find_snapshot(options_.snapshot));
}

TEST_F(RunTest, ADamagedSnapshotIsRefusedByItsFile) {
  options_.stop_after_steps = 3;
  run(false);
  const auto refused = [&] {
    try {
      run(true);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_input);
      return std::string(error.what());
    }
    ADD_FAILURE() << "was taken";
    return std::string();
  };
  const fs::path moments = options_.snapshot / "optimizer.safetensors";
  fs::resize_file(moments, fs::file_size(moments) - 4);
  EXPECT_THAT(refused(), HasSubstr("optimizer.safetensors"));
  write_file(options_.snapshot / "training.json", "{\"format\": 1}");
  EXPECT_THAT(refused(), HasSubstr("training.json"));
  write_file(options_.snapshot / "training.json", "{\"format\": 2}");
  EXPECT_THAT(refused(), HasSubstr("format 2"));
  write_file(options_.snapshot / "training.json", "");
  EXPECT_THAT(refused(), HasSubstr("training.json"));
}

TEST_F(RunTest, AnotherRunIsToldApart) {
  RunState saved;
  saved.recipe = recipe_;
  saved.model_fingerprint = "m";
  saved.data_fingerprint = "d";
  RunState now = saved;
  EXPECT_EQ(difference(saved, now), "");
  now.threads = 7;
  EXPECT_EQ(difference(saved, now), "");
  now.data_fingerprint = "e";
  EXPECT_THAT(difference(saved, now), HasSubstr("other windows"));
  now.model_fingerprint = "n";
  EXPECT_THAT(difference(saved, now), HasSubstr("another model"));
  now.recipe.batch_size = 8;
  EXPECT_EQ(difference(saved, now), "its batch_size is 4, and now 8");
  now.recipe.name = "reference";
  EXPECT_THAT(difference(saved, now), HasSubstr("\"reference\""));
}

TEST(Fingerprint, TellsWindowsApart) {
  const SmallWindows windows(20), again(20), others(20, 1, 4), fewer(19);
  EXPECT_EQ(fingerprint_of(windows.all()), fingerprint_of(again.all()));
  EXPECT_EQ(fingerprint_of(windows.all()).size(), 16U);
  EXPECT_NE(fingerprint_of(windows.all()), fingerprint_of(others.all()));
  EXPECT_NE(fingerprint_of(windows.all()), fingerprint_of(fewer.all()));
  std::vector<Window> moved(windows.all().begin(), windows.all().end());
  moved[5].end -= 1;
  EXPECT_NE(fingerprint_of(windows.all()), fingerprint_of(moved));
}

TEST(Fingerprint, TellsModelsApart) {
  const BertConfig config = test::small_config();
  const auto of = [](const BertConfig& some, uint32_t seed) {
    return fingerprint_of(some, bert_parameters(some), test::small_weights(seed));
  };
  EXPECT_EQ(of(config, 1), of(config, 1));
  EXPECT_NE(of(config, 1), of(config, 2));
  BertConfig other = config;
  other.hidden_act = Activation::gelu_tanh;
  EXPECT_NE(of(config, 1), of(other, 1));
}

}  // namespace
}  // namespace bertrand
