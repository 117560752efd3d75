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
  const LaunchEnvironment third = launched(6, 8, {4, 2});
  EXPECT_EQ(choice_of_process(on("cuda"), third).device, "cuda:2");
  EXPECT_EQ(choice_of_process(on("mlu"), third).device, "mlu:2");
  EXPECT_EQ(choice_of_process(on("cuda:1"), third).device, "cuda:1");
  EXPECT_EQ(choice_of_process(on("cpu"), third).device, "cpu");
  EXPECT_EQ(choice_of_process(on("cuda"), launched(3, 4, {0, 0})).device, "cuda:3");
  EXPECT_EQ(choice_of_process(on("cuda"), LaunchEnvironment()).device, "cuda");
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
  for (const char* device : {"cpu", "cuda", "cuda:0", "mlu:7"}) {
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
