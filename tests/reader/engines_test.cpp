#include "reader/engines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace bertrand {
namespace {

LaunchEnvironment launched(unsigned rank, unsigned count, ProcessPlace local) {
  LaunchEnvironment launch;
  launch.place = {count, rank};
  launch.local = local;
  return launch;
}

EngineChoice on(const std::string& device) {
  EngineChoice choice;
  choice.device = device;
  return choice;
}

TEST(Engines, EachProcessOfAMachineHasItsOwnDevice) {
  const auto device = [](const std::string& name, const LaunchEnvironment& launch) {
    return choice_of_process(on(name), launch, [](const EngineChoice&) { return 4U; }).device;
  };
  const LaunchEnvironment third = launched(6, 8, {4, 2});
  EXPECT_EQ(device("cuda", third), "cuda:2");
  EXPECT_EQ(device("mlu", third), "mlu:2");
  EXPECT_EQ(device("cuda:1", third), "cuda:1");
  EXPECT_EQ(device("cpu", third), "cpu");
  EXPECT_EQ(device("cuda", LaunchEnvironment()), "cuda");
  EXPECT_EQ(device("cuda", launched(5, 8, {0, 1})), "cuda:1") << "LOCAL_WORLD_SIZE is not set";
  EXPECT_EQ(device("cuda", launched(4, 8, {0, 0})), "cuda:0");
}

/// As Slurm's --gpus-per-task shows each task its own alone.
TEST(Engines, TheOnlyDeviceThatAProcessSeesIsItsOwn) {
  const auto device = [](const std::string& name, unsigned seen) {
    return choice_of_process(on(name), launched(3, 4, {4, 3}),
                             [&](const EngineChoice& choice) {
                               EXPECT_EQ(choice.device, name);
                               return seen;
                             })
        .device;
  };
  EXPECT_EQ(device("cuda", 1), "cuda:0");
  EXPECT_EQ(device("mlu", 1), "mlu:0");
  EXPECT_EQ(device("cuda", 4), "cuda:3");
  EXPECT_EQ(device("cuda", 2), "cuda:3") << "that there are too few is said later";
  EXPECT_EQ(device("cuda:3", 1), "cuda:3") << "as it was asked for";
}

TEST(Engines, MoreProcessesThanCardsAreToldHowManyToStart) {
  const auto sentence = [](const std::string& name, const LaunchEnvironment& launch,
                           unsigned cards) -> std::string {
    try {
      check_device_of_process(on(name), launch, [cards](const EngineChoice&) { return cards; });
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      return error.what();
    }
  };
  const LaunchEnvironment third = launched(6, 8, {4, 2});
  EXPECT_THAT(sentence("mlu", third, 2),
              testing::AllOf(testing::HasSubstr("4 processes of this machine have 2 cards"),
                             testing::HasSubstr("launch --nproc 2, BERTRAND_CARDS=2 for"),
                             testing::Not(testing::HasSubstr("mlu:2"))));
  EXPECT_THAT(sentence("mlu", launched(2, 4, {0, 2}), 2),
              testing::HasSubstr("3 processes or more of this machine have 2 cards"));
  EXPECT_EQ(sentence("mlu", third, 4), "");
  EXPECT_EQ(sentence("mlu", launched(4, 8, {4, 0}), 2), "") << "another one lacks a card";
  EXPECT_EQ(sentence("mlu", third, 1), "") << "may be its own";
  EXPECT_EQ(sentence("mlu", third, 0), "") << "check_device() says it";
  EXPECT_EQ(sentence("mlu:7", third, 2), "") << "as it was asked for";
  EXPECT_EQ(sentence("cpu", third, 2), "");
}

TEST(Engines, DropoutIsKeyedByExampleOnTheCpu) {
  EXPECT_TRUE(on("cpu").example_masks());
  EXPECT_FALSE(on("cuda").example_masks());
  EngineChoice choice = on("cuda");
  choice.dropout_key = "example";
  EXPECT_TRUE(choice.example_masks());
}

TEST(Engines, WhatDoesNotGoTogetherIsNamed) {
  const auto sentence = [](const EngineChoice& choice) -> std::string {
    try {
      check_engine_choice(choice);
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      return error.what();
    }
  };
  for (const char* device : {"", "tpu", "cuda:", "cuda:-1", "cuda:1000", "cpu:0", "mlu:x"}) {
    EXPECT_THAT(sentence(on(device)), testing::HasSubstr("--device")) << device;
  }
  EXPECT_THAT(sentence(on("mlu:01")), testing::HasSubstr("without a zero in front, mlu:1."));
  EXPECT_THAT(sentence(on("cuda:00")), testing::HasSubstr("without a zero in front, cuda:0."));
  for (const char* device : {"cpu", "cuda", "cuda:0", "mlu:7", "mlu:10"}) {
    EXPECT_EQ(sentence(on(device)), "") << device;
  }
  EngineChoice native = on("cuda");
  native.engine = "native";
  EXPECT_THAT(sentence(native), testing::HasSubstr("--engine native"));
  EngineChoice drawn = on("cpu");
  drawn.dropout_key = "device";
  EXPECT_THAT(sentence(drawn), testing::HasSubstr("--dropout-key"));
  drawn.engine = "torch";
  EXPECT_EQ(sentence(drawn), "");
}

}  // namespace
}  // namespace bertrand
