#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/program.h"
#include "predict/small_reader.h"

namespace {

using bertrand::test::Outcome;
using bertrand::test::Program;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kData = R"({"version": "1.1", "data": [{"paragraphs": [
  {"context": "At night the owls hunt mice and voles.", "qas": [
    {"id": "a", "question": "what?", "answers": [{"text": "mice", "answer_start": 23}]},
    {"id": "b", "question": "who?", "answers": [{"text": "the owls", "answer_start": 9}]}]}]}]})";

class LaunchCommand : public testing::Test {
 protected:
  LaunchCommand() {
    bertrand::test::write_small_reader(program_.path("model"));
    program_.write("data.json", kData);
  }

  static std::string train(const std::string& out) {
    return "train --model model --train data.json --max-query-length 8 --max-steps 1 --out " + out;
  }

  Program program_;
};

TEST_F(LaunchCommand, RunsACommandSoManyTimes) {
  const Outcome once = program_.run("--version");
  const Outcome outcome = program_.run("launch --nproc 3 -- --version");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, once.out + once.out + once.out);
  EXPECT_EQ(outcome.err, "");
}

TEST_F(LaunchCommand, ExitsAsTheCommandThatFailed) {
  const Outcome outcome = program_.run("launch --nproc 2 --tag -- inspect nothing");
  EXPECT_EQ(outcome.status, program_.run("inspect nothing").status);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("] bertrand: nothing"),
                                 HasSubstr("bertrand launch: Rank "), HasSubstr("exit code ")));
}

TEST_F(LaunchCommand, WrongUsageIsRefused) {
  EXPECT_EQ(program_.run("launch -- --version").status, 2);
  EXPECT_EQ(program_.run("launch --nproc 2").status, 2);
  EXPECT_EQ(program_.run("launch --nproc 0 -- --version").status, 2);
  const Outcome outcome = program_.run("launch --nproc 2 --nnodes 2 -- --version");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--master-port"));
}

TEST_F(LaunchCommand, TrainingInSeveralNeedsWhatJoinsThem) {
  const Outcome outcome =
      program_.run("launch --nproc 2 -- " + train("run"), "BERTRAND_TORCH_PLUGIN=nowhere.so");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("nowhere.so"), HasSubstr("BERTRAND_TORCH=ON")));
}

TEST_F(LaunchCommand, TrainingInOneIsAsWithoutIt) {
  const Outcome outcome = program_.run("launch --nproc 1 -- " + train("run"));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(program_.run(train("alone")).status, 0);
  EXPECT_TRUE(program_.read("run/model.safetensors") == program_.read("alone/model.safetensors"));
}

TEST_F(LaunchCommand, TrainReadsWhatLaunchersSay) {
  const Outcome half = program_.run(train("run"), "RANK=1");
  EXPECT_EQ(half.status, 2);
  EXPECT_THAT(half.err, HasSubstr("RANK is set, but WORLD_SIZE is not"));
  const Outcome task =
      program_.run(train("run"),
                   "SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_NTASKS=2 SLURM_LOCALID=1 "
                   "SLURM_JOB_NODELIST=n1 BERTRAND_TORCH_PLUGIN=nowhere.so");
  EXPECT_EQ(task.status, 2);
  EXPECT_THAT(task.err, HasSubstr("Rank 1: nowhere.so"));
  const Outcome shell =
      program_.run(train("run"), "SLURM_JOB_ID=7 SLURM_NTASKS=2 SLURM_JOB_NODELIST=n1");
  EXPECT_EQ(shell.status, 0) << shell.err;
  EXPECT_THAT(shell.err, Not(HasSubstr("processes")));
}

}  // namespace
