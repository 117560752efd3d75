#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "shared_data.h"

namespace bertrand {
namespace {

using ::testing::HasSubstr;

const std::string minilm = (test::source_folder() / "models/minilm-l6-squad").string();

TEST(Quantize, WritesASmallFolderThatAnswersTheSame) {
  const test::Program program;
  const auto outcome = program.run("quantize " + minilm + " small");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("small (2"));
  const auto bytes = std::filesystem::file_size(program.path("small/model.safetensors"));
  EXPECT_LT(bytes, 24'000'000U);

  const std::string ask =
      " -q 'Who wrote it?' -c 'The letter was written by the gardener.' --json --precision int8";
  const auto before = program.run("--quiet ask --model " + minilm + ask);
  const auto after = program.run("--quiet ask --model small" + ask);
  EXPECT_EQ(after.status, 0) << after.err;
  const auto answer = [](const std::string& out) {
    return nlohmann::json::parse(out)["answer"].get<std::string>();
  };
  EXPECT_EQ(answer(after.out), "the gardener");
  EXPECT_EQ(answer(before.out), "the gardener");

  // Rounded weights have no place in other formats.
  const auto converted = program.run("convert small other --to onnx");
  EXPECT_EQ(converted.status, 3);
  EXPECT_THAT(converted.err, HasSubstr("8-bit weights"));
}

TEST(Quantize, RefusesWhatItCannotDo) {
  const test::Program program;
  EXPECT_EQ(program.run("quantize " + minilm).status, 2);
  const auto absent = program.run("quantize absent new");
  EXPECT_EQ(absent.status, 1);
  EXPECT_THAT(absent.err, HasSubstr("absent: there is no such folder"));
  EXPECT_FALSE(std::filesystem::exists(program.path("new")));
  std::filesystem::create_directory(program.path("empty"));
  const auto there = program.run("quantize " + minilm + " empty");
  const auto onto_itself = program.run("quantize " + minilm + " " + minilm);
  EXPECT_EQ(onto_itself.status, 2);
  EXPECT_THAT(onto_itself.err, HasSubstr("is there already"));
  EXPECT_EQ(program.run("quantize " + minilm + " /proc/new").status, 1);
  EXPECT_EQ(there.status, 0) << "an empty folder may be used: " << there.err;
}

TEST(Quantize, TrainingInInt8IsRefused) {
  const test::Program program;
  const auto outcome =
      program.run("train --model " + minilm + " --train x.json --out run --precision int8");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("precision"));
}

}  // namespace
}  // namespace bertrand
