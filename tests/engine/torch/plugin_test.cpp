// The border: what is said where the plug-in, its version, its libraries or the device are wrong.
#include <filesystem>
#include <functional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/cpu/small_engine.h"
#include "places.h"
#include "torch_tests.h"

namespace bertrand::test {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;

void expect_error(ErrorCode code, const testing::Matcher<std::string>& sentence,
                  const std::function<void()>& work) {
  try {
    work();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(std::string(error.what()), AllOf(sentence, EndsWith(".")));
  }
}

void open_file(const std::string& name) {
  TorchPlugin::open(std::filesystem::path(kTestPlugins) / name);
}

TEST(TorchPlugin, OneThatIsNotThereIsNamed) {
  expect_error(ErrorCode::usage, AllOf(HasSubstr("nowhere.so"), HasSubstr("--torch-plugin")),
               [] { open_file("nowhere.so"); });
}

TEST(TorchPlugin, AFolderIsNone) {
  expect_error(ErrorCode::usage, AllOf(HasSubstr(": is a folder;"), HasSubstr("--torch-plugin")),
               [] { open_file(""); });
}

TEST(TorchPlugin, OfAnotherVersion) {
  expect_error(ErrorCode::runtime,
               AllOf(HasSubstr("libother_version.so"), HasSubstr("of another version")),
               [] { open_file("libother_version.so"); });
}

TEST(TorchPlugin, ThatIsNoneAtAll) {
  expect_error(ErrorCode::runtime, HasSubstr("not a plug-in of Bertrand"),
               [] { open_file("libno_plugin.so"); });
}

TEST(TorchPlugin, WhoseLibrariesAreGone) {
  expect_error(ErrorCode::runtime,
               AllOf(HasSubstr("liblacks_library.so: cannot be loaded"), HasSubstr("libgone.so"),
                     HasSubstr("LD_LIBRARY_PATH")),
               [] { open_file("liblacks_library.so"); });
}

TEST(TorchPlugin, SaysItsVersion) {
  BERTRAND_NEEDS_TORCH();
  EXPECT_THAT(built_plugin()->torch_version(), testing::StartsWith("2."));
}

void make_engine_on(const std::string& device, Precision precision = Precision::fp32) {
  TorchOptions options;
  options.device = device;
  options.precision = precision;
  torch_engine(small_config(2, 16), options);
}

TEST(TorchPlugin, DevicesThatAreNotKnown) {
  BERTRAND_NEEDS_TORCH();
  for (const char* name : {"tpu", "cuda:x", "cuda:", ""}) {
    expect_error(ErrorCode::usage, HasSubstr("--device"), [&] { make_engine_on(name); });
  }
}

uint32_t cuda_devices() {
  uint32_t count = 0;
  const int32_t status = built_plugin()->table().count_devices("cuda", nullptr, &count, nullptr);
  return status == bertrand_torch_ok ? count : 0;
}

TEST(TorchPlugin, NoSuchDevice) {
  BERTRAND_NEEDS_TORCH();
  if (cuda_devices() > 0) {
    expect_error(ErrorCode::usage, HasSubstr("such devices"), [] { make_engine_on("cuda:99"); });
  } else {
    expect_error(ErrorCode::usage, AllOf(HasSubstr("--device cuda"), HasSubstr(";")),
                 [] { make_engine_on("cuda"); });
  }
}

TEST(TorchPlugin, PrecisionsTheCpuDoesNotHave) {
  BERTRAND_NEEDS_TORCH();
  for (const Precision precision : {Precision::tf32, Precision::int8}) {
    expect_error(ErrorCode::usage, HasSubstr(name_of(precision)),
                 [&] { make_engine_on("cpu", precision); });
  }
  EXPECT_THROW(make_cpu_engine(small_config(2, 16), {1, Precision::fp16}), Error);
  EXPECT_THROW(make_cpu_engine(small_config(2, 16), {1, Precision::tf32}), Error);
}

TEST(TorchPlugin, WhatACallbackThrowsComesBack) {
  BERTRAND_NEEDS_TORCH();
  const auto engine = torch_engine(small_config(2, 16));
  expect_error(ErrorCode::bad_input, HasSubstr("is torn"), [&] {
    engine->load_parameters([](const ParameterInfo& info, std::span<float>) {
      throw Error(ErrorCode::bad_input, info.name + " is torn.");
    });
  });
}

TEST(TorchPlugin, AStepThatIsSkippedIsCounted) {
  BERTRAND_NEEDS_TORCH();
  const auto engine = torch_engine(small_config(2, 16));
  engine->skip_step();
  EXPECT_EQ(engine->steps(), 1U);
}

TEST(TorchPlugin, AutoIsOneOfItsPrecisions) {
  BERTRAND_NEEDS_TORCH();
  const PrecisionChoice choice = fastest_torch_precision(built_plugin(), small_config(2, 16),
                                                         TorchOptions(), Purpose::answers);
  EXPECT_TRUE(choice.precision == Precision::fp32 || choice.precision == Precision::bf16);
  EXPECT_EQ(choice.timed.size(), 2U);
}

}  // namespace
}  // namespace bertrand::test
