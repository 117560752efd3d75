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
using ::testing::IsEmpty;

const std::string minilm = (test::source_folder() / "models/minilm-l6-squad").string();
const std::string bert_tiny = "data/checkpoints/tf1-bert-tiny";

TEST(Convert, WritesFoldersThatAnswer) {
  const test::Program program;
  const auto outcome = program.run("convert " + minilm + " new --to pytorch");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("new: 103 tensors"));
  EXPECT_THAT(outcome.out, HasSubstr("(safetensors)"));
  const std::string ask = " -q 'Who wrote it?' -c 'The letter was written by the gardener.'";
  const auto before = program.run("--quiet ask --model " + minilm + ask);
  const auto after = program.run("--quiet ask --model new" + ask);
  EXPECT_EQ(after.status, 0) << after.err;
  EXPECT_EQ(after.out, before.out);
}

TEST(Convert, TakesTheFlagsOfTheReference) {
  BERTRAND_NEEDS_SHARED(bert_tiny);
  const std::string tiny = (test::shared_folder() / bert_tiny).string();
  const test::Program program;
  const auto outcome =
      program.run("convert --tf_checkpoint_path " + tiny + "/bert_model.ckpt --bert_config_file " +
                  tiny + "/bert_config.json --pytorch_dump_path dump");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("LayerNorm/beta/adam_m"));
  const auto inspected = program.run("inspect --json --check dump");
  const auto json = nlohmann::json::parse(inspected.out);
  EXPECT_EQ(json["kind"], "PyTorch (zip)");
  EXPECT_THAT(json["problems"], IsEmpty());
}

TEST(Convert, RefusesWrongUsage) {
  const test::Program program;
  EXPECT_EQ(program.run("convert").status, 2);
  EXPECT_EQ(program.run("convert a").status, 2);
  EXPECT_EQ(program.run("convert a b --to tensorflow").status, 2);
  EXPECT_EQ(program.run("convert a b --tf_checkpoint_path c --pytorch_dump_path d").status, 2);
  EXPECT_EQ(program.run("convert " + minilm + " x.onnx --to pytorch").status, 2);
  const auto absent = program.run("convert absent b");
  EXPECT_EQ(absent.status, 1);
  EXPECT_THAT(absent.err, HasSubstr("absent: there is no such checkpoint"));
  EXPECT_FALSE(std::filesystem::exists(program.path("b")));
}

}  // namespace
}  // namespace bertrand
