// Commands through LibTorch: what they say where it is not there, and a run that changes engines.
#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "shared_data.h"

namespace bertrand::test {
namespace {

using testing::HasSubstr;

constexpr const char* kAsk = "ask -q 'What do owls hunt?' -c 'At night owls hunt mice and voles.' ";

std::string train_command(const std::string& more) {
  const std::filesystem::path source = source_folder();
  return "train --model " + (source / "models/minilm-l6-squad").string() + " --train " +
         (source / "data/sample/train.json").string() +
         " --out run --threads 1 --batch-size 2 --max-steps 2 --seed 3 " + more;
}

TEST(TorchCommands, FlagsThatDoNotGoTogether) {
  const Program program;
  const auto expect_usage = [&](const std::string& flags, const std::string& word) {
    const Outcome outcome = program.run(kAsk + flags);
    EXPECT_EQ(outcome.status, 2) << flags;
    EXPECT_THAT(outcome.err, HasSubstr(word));
    EXPECT_EQ(outcome.out, "");
  };
  expect_usage("--device tpu", "cpu, cuda or mlu");
  expect_usage("--device cuda:one", "cpu, cuda or mlu");
  expect_usage("--engine native --device cuda", "--engine torch");
  expect_usage("--engine torch --torch-plugin nowhere.so", "nowhere.so");
  expect_usage("--precision fp16", "fp16 is not computed by the native engine");
}

TEST(TorchCommands, WithoutThePluginSayWhatToDo) {
  if (has_plugin()) {
    GTEST_SKIP() << "libbertrand_torch.so is there";
  }
  const Outcome outcome = Program().run(std::string(kAsk) + "--engine torch");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("BERTRAND_TORCH=ON"));
}

TEST(TorchCommands, AnswersAreTheNativeEngines) {
  if (!has_plugin()) GTEST_SKIP() << kNoPlugin;
  const Program program;
  const Outcome native = program.run(std::string(kAsk) + "--json");
  const Outcome torch = program.run(std::string(kAsk) + "--json --engine torch");
  ASSERT_EQ(torch.status, 0) << torch.err;
  const auto answer = [](const Outcome& outcome) { return nlohmann::json::parse(outcome.out); };
  EXPECT_EQ(answer(torch).at("answer"), answer(native).at("answer"));
  EXPECT_NEAR(answer(torch).at("score").get<double>(), answer(native).at("score").get<double>(),
              1e-4);
  EXPECT_EQ(program.run(std::string(kAsk) + "--engine torch --precision int8").status, 2);
}

/// A snapshot of one engine is the other's.
TEST(TorchCommands, ARunBegunByOneEngineIsFinishedByTheOther) {
  if (!has_plugin()) GTEST_SKIP() << kNoPlugin;
  const auto loss = [](const Program& program) {
    return nlohmann::json::parse(program.read("run/run.json")).at("final_loss").get<double>();
  };
  const Program alone;
  ASSERT_EQ(alone.run(train_command("")).status, 0);
  for (const auto& [first, second] :
       {std::pair{"--engine torch", ""}, std::pair{"", "--engine torch"}}) {
    const Program program;
    const Outcome begun = program.run(train_command(std::string("--stop-after-steps 1 ") + first));
    ASSERT_EQ(begun.status, 0) << begun.err;
    const Outcome ended = program.run(train_command(std::string("--resume ") + second));
    ASSERT_EQ(ended.status, 0) << ended.err;
    EXPECT_NEAR(loss(program) / loss(alone), 1, 1e-4);
    const auto report = nlohmann::json::parse(program.read("run/run.json"));
    EXPECT_EQ(report.at("device"), "cpu");
    EXPECT_THAT(report.at("engine").get<std::string>(),
                *second == '\0' ? testing::Matcher<std::string>(testing::Eq("native"))
                                : testing::StartsWith("LibTorch 2."));
  }
}

TEST(TorchCommands, SeveralProcessesTrainWithEitherEngine) {
  if (!has_plugin()) GTEST_SKIP() << kNoPlugin;
  for (const char* engine : {"native", "torch"}) {
    const Program program;
    const Outcome outcome =
        program.run("launch --nproc 2 -- " + train_command(std::string("--engine ") + engine));
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    const auto report = nlohmann::json::parse(program.read("run/run.json"));
    EXPECT_EQ(report.at("processes"), 2);
    EXPECT_EQ(report.at("steps"), 2);
    EXPECT_EQ(report.at("windows_a_step"), 4);
  }
}

TEST(TorchCommands, NoSuchDevice) {
  if (!has_plugin()) GTEST_SKIP() << kNoPlugin;
  for (const char* device : {"cuda:98", "mlu:98"}) {
    const Outcome outcome = Program().run(kAsk + std::string("--device ") + device);
    EXPECT_NE(outcome.status, 0);
    EXPECT_THAT(outcome.err, HasSubstr("--device"));
    EXPECT_EQ(outcome.out, "");
  }
}

}  // namespace
}  // namespace bertrand::test
