// Where run_squad computes. A stand-in for the plug-in finds cards, and computes nothing on them.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/run_squad_fixture.h"
#include "places.h"

namespace bertrand::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class RunSquadDevice : public RunSquad {
 protected:
  Outcome run_on(const std::string& flags, const std::string& before = "") const {
    return program_.run(
        "run_squad --init_checkpoint model.pt --max_query_length 8 --json-summary s.json "
        "--output_dir run --max_steps 1 " +
            std::string(kTrain) + flags,
        before);
  }

  /// On a machine with cards of this kind.
  Outcome run_with(const std::string& kind, const std::string& flags) const {
    return run_on(flags, std::string("BERTRAND_TORCH_PLUGIN=") + kTestPlugins +
                             "/libshows_cards.so BERTRAND_TEST_CARDS=" + kind);
  }
};

TEST_F(RunSquadDevice, KnowsWhichDevicesItHas) {
  const Outcome mlu = run_on("--device mlu --torch-plugin /nowhere/plugin.so");
  EXPECT_NE(mlu.status, 0);
  EXPECT_THAT(mlu.err, HasSubstr("/nowhere/plugin.so"));
  EXPECT_EQ(run_on("--device toaster").status, 2);
  EXPECT_EQ(run_on("--device gpu --no_cuda").status, 0);
  EXPECT_EQ(run_on("").status, 0);  // over what was there, as the reference does
}

TEST_F(RunSquadDevice, TakesTheCardsItFinds) {
  for (const std::string kind : {"cuda", "mlu"}) {
    const Outcome found = run_with(kind, "");
    EXPECT_EQ(found.status, 1);
    EXPECT_THAT(found.err, AllOf(HasSubstr("Computed on " + kind + "; --device cpu chooses"),
                                 HasSubstr("Nothing is computed on " + kind + ".")));
  }
  EXPECT_THAT(run_with("mlu", "--device mlu:1").err,
              AllOf(HasSubstr("Nothing is computed on mlu:1."), Not(HasSubstr("Computed on"))));
  EXPECT_THAT(run_with("cuda", "--device mlu:1").err,
              HasSubstr("There are no cards of the kind mlu."));
  EXPECT_EQ(run_with("cuda", "--device cpu").status, 0);
  EXPECT_EQ(run_with("cuda", "--engine native").status, 0);
}

TEST_F(RunSquadDevice, SaysWhyItComputesOnTheCpu) {
  const Outcome none = run_with("none", "");
  EXPECT_EQ(none.status, 0) << none.err;
  EXPECT_THAT(none.err, AllOf(HasSubstr("Computed on the CPU; --device gpu or mlu chooses cards."),
                              HasSubstr("The plug-in finds no cards here.")));
  const Outcome broken = run_on("", "BERTRAND_TORCH_PLUGIN=/nowhere/plugin.so");
  EXPECT_EQ(broken.status, 0) << broken.err;
  EXPECT_THAT(broken.err, AllOf(HasSubstr("Computed on the CPU"), HasSubstr("/nowhere/plugin.so")));
  // Hours on the CPU instead of cards are not to begin in silence.
  for (const std::string& plugin :
       {std::string("/nowhere/plugin.so"), kTestPlugins + std::string("/libother_version.so")}) {
    const Outcome quiet = run_on("--quiet", "BERTRAND_TORCH_PLUGIN=" + plugin);
    EXPECT_EQ(quiet.status, 0) << quiet.err;
    EXPECT_THAT(quiet.err,
                HasSubstr("Computed on the CPU; cards could not be looked for. " + plugin));
  }
  EXPECT_EQ(run_with("none", "--quiet").err, "");
  const Outcome named = run_on("--torch-plugin /nowhere/plugin.so");
  EXPECT_EQ(named.status, 2);  // who names it wants it
}

TEST_F(RunSquadDevice, NamesDevicesAsItsFlagDoes) {
  for (const char* device : {"MLU", "xpu"}) {
    const Outcome outcome = run_on(std::string("--device ") + device);
    EXPECT_EQ(outcome.status, 2);
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("give cpu, gpu or mlu,"), HasSubstr("(gpu:1)"),
                                   Not(HasSubstr("cuda"))));
  }
  EXPECT_THAT(run_on("--device cpu --precision fp16").err,
              AllOf(HasSubstr("give --device gpu"), Not(HasSubstr("cuda"))));
}

TEST_F(RunSquadDevice, MoreProcessesThanCardsAreToldHowManyToStart) {
  const Outcome outcome = program_.run(
      "launch --nproc 4 run_squad --init_checkpoint model.pt --json-summary s.json "
      "--device mlu --output_dir run " +
          std::string(kTrain),
      std::string("BERTRAND_TORCH_PLUGIN=") + kTestPlugins +
          "/libshows_cards.so BERTRAND_TEST_CARDS=mlu");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("Rank 2: 4 processes of this machine have 2 cards"),
                                 HasSubstr("launch --nproc 2, BERTRAND_CARDS=2")));
}

TEST_F(RunSquadDevice, NoCudaMeansGpusAlone) {
  for (const char* flags : {"--no_cuda", "--no_cuda --device gpu:1", "--device cuda --no_cuda"}) {
    const Outcome outcome = run_with("cuda", flags);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("--no_cuda: computed on the CPU."));
  }
  const Outcome mlu = run_with("mlu", "--no_cuda --device mlu");
  EXPECT_EQ(mlu.status, 1);
  EXPECT_THAT(mlu.err, AllOf(HasSubstr("--no_cuda changes nothing: --device mlu is no GPU."),
                             HasSubstr("Nothing is computed on mlu.")));
}

}  // namespace
}  // namespace bertrand::test
