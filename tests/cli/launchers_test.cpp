// Training in two processes by the launchers of others, as far as they are installed here.
#include <cstdlib>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/program.h"
#include "cli/small_data.h"
#include "distributed/launch.h"
#include "predict/small_reader.h"

namespace bertrand::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

struct Foreign {
  const char* name;
  const char* probe;    ///< a shell command that succeeds where this launcher works
  const char* command;  ///< starts two processes of what follows; @: a port that is free
};

constexpr Foreign kLaunchers[] = {
    {"OpenMpi", "mpirun --version | grep -q 'Open MPI'",
     "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
     "mpirun --oversubscribe --bind-to none -n 2"},
    {"Mpich", "mpiexec.hydra -n 1 true", "mpiexec.hydra -n 2 -genv MASTER_PORT @"},
    {"Slurm", "timeout 20 srun --immediate=5 --nodes 1 --ntasks 2 true",
     "srun --immediate=60 --nodes 1 --ntasks 2 --kill-on-bad-exit=1"},
    {"Torchrun", "torchrun --help", "torchrun --no-python --nproc-per-node 2 --master-port @"},
};

class Launchers : public testing::TestWithParam<Foreign> {
 protected:
  void SetUp() override {
    if (!has_plugin()) GTEST_SKIP() << kNoPlugin;
    const std::string probe =
        "{ " + std::string(GetParam().probe) + "; } </dev/null >/dev/null 2>&1";
    if (std::system(probe.c_str()) != 0) {
      GTEST_SKIP() << "this launcher does not work here: " << GetParam().probe;
    }
    write_small_reader(program_.path("model"));
    program_.write("data.json", kSmallData);
  }

  static std::string train(const std::string& data, const std::string& out) {
    return "train --model model --train " + data +
           " --max-query-length 8 --max-steps 3 --batch-size 2 --threads 1 --seed 5 --out " + out;
  }

  static std::string command() {
    std::string command = GetParam().command;
    if (const size_t at = command.find('@'); at != std::string::npos) {
      command.replace(at, 1, std::to_string(free_port()));
    }
    return command;
  }

  Program program_;
};

TEST_P(Launchers, TrainAsLaunchDoes) {
  const Outcome own = program_.run("launch --nproc 2 -- " + train("data.json", "own"));
  ASSERT_EQ(own.status, 0) << own.err;
  const Outcome outcome = program_.run(train("data.json", "run"), command());
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, HasSubstr("2 processes of 2 windows each"));
  const size_t told = outcome.err.find("The model is in run.");
  ASSERT_NE(told, std::string::npos) << outcome.err;
  EXPECT_EQ(outcome.err.find("The model is in", told + 1), std::string::npos)
      << "rank 0 alone tells";
  EXPECT_TRUE(program_.read("run/model.safetensors") == program_.read("own/model.safetensors"));
}

TEST_P(Launchers, WhatIsWrongIsToldOnce) {
  const Outcome outcome = program_.run(train("nothing.json", "run"), command());
  EXPECT_NE(outcome.status, 0);
  const size_t told = outcome.err.find("bertrand: ");
  ASSERT_NE(told, std::string::npos) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("nothing.json"), Not(HasSubstr("Rank 1"))));
  EXPECT_EQ(outcome.err.find("bertrand: ", told + 1), std::string::npos) << outcome.err;
}

INSTANTIATE_TEST_SUITE_P(Foreign, Launchers, testing::ValuesIn(kLaunchers),
                         [](const auto& launcher) { return std::string(launcher.param.name); });

}  // namespace
}  // namespace bertrand::test
