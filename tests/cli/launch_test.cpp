#include "distributed/launch.h"

#include <chrono>
#include <csignal>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/program.h"
#include "distributed/sockets.h"
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

/// As torchrun has it: what stands behind the command's name is its own.
TEST_F(LaunchCommand, TheCommandMayStandWithoutDashes) {
  const Outcome outcome = program_.run("launch --nproc_per_node=1 " + train("run") + " --quiet");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_NE(program_.read("run/run.json"), "");
  const Outcome help = program_.run("launch --nproc 2 ask --help");
  EXPECT_THAT(help.out, HasSubstr("--question"));
  EXPECT_EQ(program_.run("launch --nproc 2").status, 2);
}

TEST_F(LaunchCommand, ACommandThatIsNoneIsNamed) {
  for (const char* arguments : {"run_squad.py --do_train", "run_squad.py", "--quiet run_squad.py",
                                "launch --nproc 1 run_squad.py --do_train"}) {
    const Outcome outcome = program_.run(arguments);
    EXPECT_EQ(outcome.status, 2) << arguments;
    EXPECT_THAT(outcome.err,
                HasSubstr("bertrand has no command run_squad.py; the nearest is run_squad. "))
        << arguments;
    EXPECT_EQ(outcome.out, "");
  }
  EXPECT_EQ(program_.run("").status, 2);
  EXPECT_THAT(program_.run("ask nothing").err, Not(HasSubstr("has no command")));
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
  const Outcome here = program_.run("launch --nproc 2 --nnodes 2 --master-port 29500 -- --version");
  EXPECT_EQ(here.status, 2);
  EXPECT_THAT(here.err, HasSubstr("--master-addr"));
  EXPECT_EQ(here.out, "");
  const Outcome beyond = program_.run("launch --nproc 2 --nnodes 2 --node-rank 2 -- --version");
  EXPECT_EQ(beyond.status, 2);
  EXPECT_THAT(beyond.err, HasSubstr("--node-rank 2: with --nnodes 2 the machines have the numbers "
                                    "from 0 to 1."));
}

TEST_F(LaunchCommand, TrainingInSeveralNeedsWhatJoinsThem) {
  const Outcome outcome =
      program_.run("launch --nproc 2 -- " + train("run"), "BERTRAND_TORCH_PLUGIN=nowhere.so");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("nowhere.so"), HasSubstr("BERTRAND_TORCH=ON")));
}

/// A signal to those who wait for others ends them at once.
TEST_F(LaunchCommand, ASignalEndsTheWaitForOthers) {
  const uint16_t port = bertrand::free_port();
  const pid_t process =
      program_.start("launch --nproc 2 --nnodes 2 --master-addr 127.0.0.1 --master-port " +
                     std::to_string(port) + " -- " + train("run"));
  std::string why;
  for (int i = 0; i < 600; ++i) {  // until rank 0 listens
    if (bertrand::connect_to("127.0.0.1", port, 1, why).number() >= 0) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  ::kill(process, SIGTERM);
  EXPECT_EQ(program_.wait(process).status, 128 + SIGTERM);
}

TEST_F(LaunchCommand, WhoDoesNotComeIsNamed) {
  const Outcome outcome = program_.run(
      "launch --nproc 2 --nnodes 2 --join-timeout 1 --master-addr 127.0.0.1 --master-port " +
      std::to_string(bertrand::free_port()) + " -- " + train("run"));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("Ranks 2 and 3 did not come within 1 seconds"),
                                 HasSubstr("launch: Rank 0 failed with exit code 1.")));
}

/// A file that one process lacks is told by the first, and ends all at once.
TEST_F(LaunchCommand, WhatOneProcessFindsWrongEndsAll) {
  const std::string files =
      "--init_checkpoint model/model.safetensors --config_file model/config.json --vocab_file "
      "model/vocab.txt --train_file data.json --predict_file nothing.json --do_train --do_predict "
      "--output_dir out";
  const Outcome outcome =
      program_.run("launch --nproc 2 -- run_squad " + files, "BERTRAND_TORCH_PLUGIN=nowhere.so");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err,
              AllOf(HasSubstr("nowhere.so"), HasSubstr("launch: Rank 0 failed with exit code 2."),
                    Not(HasSubstr("Rank 1"))));
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
                   "SLURM_JOB_NODELIST=n1 MASTER_ADDR=127.0.0.1 BERTRAND_JOIN_TIMEOUT=1");
  EXPECT_EQ(task.status, 1);
  EXPECT_THAT(task.err, HasSubstr("Rank 1: rank 0 was not met at 127.0.0.1:"));
  const Outcome shell =
      program_.run(train("run"), "SLURM_JOB_ID=7 SLURM_NTASKS=2 SLURM_JOB_NODELIST=n1");
  EXPECT_EQ(shell.status, 0) << shell.err;
  EXPECT_THAT(shell.err, Not(HasSubstr("processes")));
}

}  // namespace
