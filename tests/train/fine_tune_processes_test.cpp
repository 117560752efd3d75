// Whole runs in several processes.
#include <atomic>
#include <stdexcept>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "distributed/thread_group.h"
#include "fine_tune_fixture.h"

namespace bertrand {
namespace {

using test::SmallEngine;
using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

/// How a process ended.
struct Outcome {
  std::optional<RunEnd> end;
  std::optional<ErrorCode> code;
  std::string sentence;
};

class ProcessesTest : public test::FineTuneTest {
 protected:
  using Change = std::function<void(FineTuneOptions& options, unsigned rank)>;

  /// Runs options_ in `count` processes, after change(options, rank) in each.
  std::vector<Outcome> run(unsigned count, const Change& change = {}) const {
    test::ThreadGroup group(count);
    std::vector<Outcome> outcomes(count);
    std::vector<std::jthread> threads;
    for (unsigned rank = 0; rank < count; ++rank) {
      threads.emplace_back([&, rank] {
        FineTuneOptions mine = options_;
        mine.launch.place = {count, rank};
        mine.make_group = [&](const LaunchEnvironment& launch) {
          return group.member(launch.place.rank);
        };
        if (change) change(mine, rank);
        outcomes[rank] = outcome_of(mine);
      });
    }
    threads.clear();
    return outcomes;
  }

  static Outcome outcome_of(const FineTuneOptions& options) {
    Outcome outcome;
    try {
      outcome.end = fine_tune(options);
    } catch (const Error& error) {
      outcome.code = error.code();
      outcome.sentence = error.what();
    } catch (const std::exception& error) {
      outcome.sentence = error.what();
    }
    return outcome;
  }

  void expect_end(const std::vector<Outcome>& outcomes, RunEnd end) const {
    for (const Outcome& outcome : outcomes) {
      EXPECT_EQ(outcome.end, end) << outcome.sentence;
    }
  }

  /// All failed, one of them by its own fault; what rank 0 said. The others leave it to that.
  static std::string refusal(const std::vector<Outcome>& outcomes, ErrorCode code) {
    const std::string named = "Rank ";
    const bool is_of_other = outcomes[0].sentence.starts_with(named);
    const size_t cause = is_of_other ? std::stoul(outcomes[0].sentence.substr(named.size())) : 0;
    for (size_t rank = 0; rank < outcomes.size(); ++rank) {
      EXPECT_EQ(outcomes[rank].code, rank == cause ? code : ErrorCode::elsewhere)
          << "rank " << rank;
      EXPECT_EQ(outcomes[rank].sentence.empty(), rank != 0) << outcomes[rank].sentence;
    }
    return outcomes[0].sentence;
  }

  std::string weights() const { return read_file(options_.out / "model.safetensors"); }

  /// The weights of the run that nothing disturbs.
  std::string undisturbed(unsigned count) {
    const auto out = options_.out;
    options_.out = root_ / "whole";
    expect_end(run(count), RunEnd::finished);
    std::string whole = weights();
    options_.out = out;
    return whole;
  }
};

TEST_F(ProcessesTest, LeaveOneModelWithAllAboutTheRun) {
  options_.dev = options_.train;
  expect_end(run(2), RunEnd::finished);
  EXPECT_FALSE(ModelFolder::open(options_.out).lacks_head());
  EXPECT_THAT(names_in(options_.out), testing::Not(testing::Contains("snapshot")));
  const nlohmann::json report = json("run.json");
  EXPECT_EQ(report["finished"], true);
  EXPECT_EQ(report["processes"], 2);
  EXPECT_EQ(report["windows_a_step"], 4);
  EXPECT_EQ(report["steps"], 6);  // (3 windows each in batches of 2) x 3 epochs
  EXPECT_TRUE(report["f1"].is_number());
  std::istringstream lines(read_file(options_.out / "events.jsonl"));
  std::vector<int> windows;
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json event = nlohmann::json::parse(line);
    if (event["event"] == "step") windows.push_back(event["windows"]);
  }
  EXPECT_THAT(windows, testing::UnorderedElementsAre(4, 2, 4, 2, 4, 2));
}

TEST_F(ProcessesTest, ResumedTheyWriteTheSameBytes) {
  for (const char* recipe : {"modern", "reference"}) {
    options_.recipe = recipe;
    options_.overwrite = true;
    const std::string whole = undisturbed(3);
    options_.run.stop_after_steps = 2;
    expect_end(run(3), RunEnd::stopped);
    options_.run.stop_after_steps = 0;
    options_.resume = true;
    options_.overwrite = false;
    expect_end(run(3), RunEnd::finished);
    EXPECT_EQ(weights(), whole) << recipe;
    options_.resume = false;
  }
}

TEST_F(ProcessesTest, ASignalToOneStopsAllWithASnapshot) {
  const std::string whole = undisturbed(3);
  std::atomic<int> asked = 0;
  const auto signal_to_one = [&](FineTuneOptions& options, unsigned rank) {
    if (rank == 2) options.run.signal = [&] { return ++asked > 2 ? 15 : 0; };
  };
  expect_end(run(3, signal_to_one), RunEnd::stopped);
  EXPECT_FALSE(std::filesystem::exists(options_.out / "model.safetensors"));
  options_.resume = true;
  expect_end(run(3), RunEnd::finished);
  EXPECT_EQ(weights(), whole);
}

TEST_F(ProcessesTest, TheFirstOnesClockStopsAll) {
  options_.recipe_values["epochs"] = "1000000";
  const auto clocks = [](FineTuneOptions& options, unsigned rank) {
    options.run.stop_after_minutes = rank == 0 ? 1e-4 : 1e9;
  };
  expect_end(run(2, clocks), RunEnd::stopped);
  EXPECT_EQ(json("run.json")["finished"], false);
}

TEST_F(ProcessesTest, OneThatDiesLeavesTheSnapshotToGoOnFrom) {
  const std::string whole = undisturbed(2);
  options_.run.snapshot_every = 2;
  std::atomic<int> asked = 0;
  const auto one_dies = [&](FineTuneOptions& options, unsigned rank) {
    if (rank == 1) {
      options.run.signal = [&]() -> int {
        if (++asked > 4) throw std::runtime_error("dies");
        return 0;
      };
    }
  };
  const std::vector<Outcome> outcomes = run(2, one_dies);
  EXPECT_EQ(outcomes[1].sentence, "dies");
  EXPECT_EQ(outcomes[0].code, ErrorCode::runtime);
  EXPECT_THAT(outcomes[0].sentence,
              AllOf(HasSubstr("Process 1 is gone"), HasSubstr("snapshot of step 4 is kept")));
  options_.resume = true;
  expect_end(run(2), RunEnd::finished);
  EXPECT_EQ(weights(), whole);
}

TEST_F(ProcessesTest, AnotherNumberOfThemDoesNotGoOn) {
  options_.run.stop_after_steps = 2;
  expect_end(run(2), RunEnd::stopped);
  options_.resume = true;
  EXPECT_THAT(refusal(run(3), ErrorCode::usage),
              AllOf(HasSubstr("begun by 2 processes"), HasSubstr("with 3"), HasSubstr("--nproc")));
  EXPECT_THAT(refused(ErrorCode::usage), HasSubstr("with 1"));
}

TEST_F(ProcessesTest, OneWithAnotherRecipeIsNamed) {
  const auto change = [](FineTuneOptions& options, unsigned rank) {
    if (rank == 1) options.recipe_values["learning_rate"] = "0.2";
  };
  EXPECT_THAT(
      refusal(run(3, change), ErrorCode::usage),
      AllOf(HasSubstr("Rank 1: "), HasSubstr("--learning-rate is 0.2 here and 0.1 at rank 0")));
  EXPECT_FALSE(std::filesystem::exists(options_.out));
}

TEST_F(ProcessesTest, SoIsOneWithOtherDataOrModelOrProgram) {
  std::string text = test::small_squad();
  text.replace(text.find("red fox"), 7, "old fox");
  write_file(root_ / "other.json", text);
  const auto other_data = [&](FineTuneOptions& options, unsigned rank) {
    if (rank == 2) options.train = root_ / "other.json";
  };
  EXPECT_THAT(refusal(run(3, other_data), ErrorCode::usage),
              AllOf(HasSubstr("Rank 2: "), HasSubstr("the data's fingerprint")));
  const auto other_program = [](FineTuneOptions& options, unsigned rank) {
    options.program_version = rank == 1 ? '2' : '1';
  };
  EXPECT_THAT(refusal(run(2, other_program), ErrorCode::usage),
              HasSubstr("the program's version is 2 here and 1 at rank 0"));
  const auto other_seed = [](FineTuneOptions& options, unsigned rank) {
    options.run.snapshot_every = rank;
  };
  EXPECT_THAT(refusal(run(2, other_seed), ErrorCode::usage), HasSubstr("--snapshot-every is 1"));
}

TEST_F(ProcessesTest, AFileThatOneCannotReadIsSaidByTheFirst) {
  const auto change = [&](FineTuneOptions& options, unsigned rank) {
    if (rank == 1) options.train = root_ / "nothing.json";
  };
  EXPECT_THAT(refusal(run(3, change), ErrorCode::io),
              AllOf(HasSubstr("Rank 1: "), HasSubstr("nothing.json")));
  EXPECT_FALSE(std::filesystem::exists(options_.out));
  options_.train = root_ / "nothing.json";
  EXPECT_THAT(refusal(run(3), ErrorCode::io), testing::Not(HasSubstr("Rank")));
}

TEST_F(ProcessesTest, WhatTheFirstCannotWriteIsSaidOnceAndByIt) {
  const auto full = [] { throw Error(ErrorCode::io, "steps.txt: cannot be written (full)."); };
  for (const uint64_t at : {1U, 2U, 3U}) {  // the last one, too
    options_.overwrite = true;
    const auto change = [&](FineTuneOptions& options, unsigned rank) {
      if (rank != 0) return;
      options.run.on_step = [&, at](const TrainStep& step, double) {
        if (step.step == at) full();
      };
    };
    EXPECT_THAT(refusal(run(3, change), ErrorCode::io), HasSubstr("steps.txt")) << at;
  }
  const auto at_the_begin = [&](FineTuneOptions& options, unsigned rank) {
    if (rank == 0) options.on_begin = [&](const RunSize&) { full(); };
  };
  EXPECT_THAT(refusal(run(2, at_the_begin), ErrorCode::io), HasSubstr("steps.txt"));
  const auto first = [&](FineTuneOptions& options, unsigned) { options.check_first = full; };
  EXPECT_THAT(refusal(run(2, first), ErrorCode::io), HasSubstr("steps.txt"));
}

TEST_F(ProcessesTest, TheModelThatCannotBeWrittenIsSaidByTheFirst) {
  const auto change = [&](FineTuneOptions& options, unsigned rank) {
    if (rank != 0) return;
    options.run.on_step = [&](const TrainStep&, double) {
      std::filesystem::create_directories(options_.out / "model.safetensors" / "in-the-way");
    };
  };
  EXPECT_THAT(refusal(run(2, change), ErrorCode::io),
              AllOf(HasSubstr("model.safetensors"), HasSubstr("snapshot of step 6 is kept")));
}

TEST_F(ProcessesTest, TheFirstAloneNeedsTheFileToEvaluateOn) {
  options_.dev = options_.train;
  const auto change = [&](FineTuneOptions& options, unsigned rank) {
    if (rank == 1) options.dev = root_ / "nothing.json";
  };
  expect_end(run(2, change), RunEnd::finished);
  options_.overwrite = true;
  options_.dev = root_ / "nothing.json";
  EXPECT_THAT(refusal(run(2), ErrorCode::io), HasSubstr("nothing.json"));
}

/// Other libraries may not understand each other: they are not to meet.
TEST_F(ProcessesTest, WhatComputesIsComparedBeforeTheyAreJoined) {
  test::ThreadGroup met(3);
  const auto change = [&](FineTuneOptions& options, unsigned rank) {
    options.meeting = met.member(rank);
    options.engine = rank == 2 ? "LibTorch 2.1.0" : "native";
    options.make_group = [](const LaunchEnvironment&) -> std::unique_ptr<ProcessGroup> {
      throw std::runtime_error("they were joined");
    };
  };
  EXPECT_THAT(refusal(run(3, change), ErrorCode::usage),
              HasSubstr("Rank 2: The processes of a run must agree, but what computes is LibTorch "
                        "2.1.0 here and native at rank 0"));
}

/// What a card is called in a process does not tell which it is.
TEST_F(ProcessesTest, TwoOfThemOnOneCardAreRefusedBeforeTheyAreJoined) {
  test::ThreadGroup first(4), second(4), third(4);
  const auto on = [&](test::ThreadGroup& met, const std::vector<std::string>& machines,
                      const std::vector<std::string>& cards) {
    return [&met, machines, cards](FineTuneOptions& options, unsigned rank) {
      options.meeting = met.member(rank);
      options.device = "mlu:0";
      options.machine = machines[rank];
      options.card = cards[rank];
    };
  };
  const std::vector<std::string> one(4, "one"), two = {"one", "one", "two", "two"};
  EXPECT_THAT(refusal(run(4, on(first, two, {"a", "b", "a", "a"})), ErrorCode::usage),
              AllOf(HasSubstr("2 processes of a machine have 1 card: ranks 2 and 3 would both"),
                    HasSubstr("on mlu:0"), HasSubstr("--nproc 1, BERTRAND_CARDS=1 "),
                    HasSubstr("--device mlu no number")));
  expect_end(run(4, on(second, two, {"a", "b", "a", "b"})), RunEnd::finished);
  options_.overwrite = true;
  expect_end(run(4, on(third, one, {"", "", "", ""})), RunEnd::finished);
}

TEST_F(ProcessesTest, DevicesAndKeysOfDropoutMustAgree) {
  const auto device = [](FineTuneOptions& options, unsigned rank) {
    options.device = rank == 0 ? "cuda:0" : "cpu";
  };
  EXPECT_THAT(refusal(run(2, device), ErrorCode::usage),
              HasSubstr("--device is cpu here and cuda at rank 0"));
  const auto key = [](FineTuneOptions& options, unsigned rank) {
    options.device = "cuda:" + std::to_string(rank);
    options.dropout_key = rank == 0 ? "example" : "device";
  };
  EXPECT_THAT(refusal(run(2, key), ErrorCode::usage), HasSubstr("--dropout-key is device here"));
}

/// What the user chose, not the fingerprint that follows from it.
TEST_F(ProcessesTest, AValueOfTheRecipeIsNamedBeforeFingerprints) {
  const auto change = [](FineTuneOptions& options, unsigned rank) {
    if (rank == 1) options.recipe_values["max_train_windows"] = "4";
  };
  EXPECT_THAT(refusal(run(2, change), ErrorCode::usage), HasSubstr("--max-train-windows is 4"));
}

TEST_F(ProcessesTest, AFolderThatIsNotEmptyIsRefusedByAll) {
  std::filesystem::create_directories(options_.out);
  write_file(options_.out / "mine.txt", "mine");
  EXPECT_THAT(refusal(run(2), ErrorCode::usage), HasSubstr("is not empty"));
}

TEST_F(ProcessesTest, TheFirstOneChoosesThePrecision) {
  options_.recipe_values["precision"] = "auto";
  std::atomic<int> asked = 0;
  options_.choose_precision = [&](const BertConfig&, unsigned) {
    ++asked;
    PrecisionChoice choice;
    choice.precision = Precision::bf16;
    return choice;
  };
  std::atomic<int> engines = 0;
  options_.make_engine = [&](const BertConfig& config, Precision precision, unsigned) {
    engines += precision == Precision::bf16 ? 1 : 0;
    return std::make_unique<SmallEngine>(config);
  };
  expect_end(run(3), RunEnd::finished);
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(engines, 3);
  EXPECT_EQ(json("recipe.json")["precision"], "bf16");
}

TEST_F(ProcessesTest, WithNothingToJoinThemTheyAreRefused) {
  options_.launch.place = {4, 2};
  EXPECT_THAT(refused(ErrorCode::usage), AllOf(HasSubstr("rank 2 of 4"), HasSubstr("WORLD_SIZE")));
}

}  // namespace
}  // namespace bertrand
