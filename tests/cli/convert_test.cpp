#include <csignal>
#include <filesystem>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "model/config.h"
#include "model/parameters.h"
#include "places.h"
#include "shared_data.h"

namespace bertrand {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

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
  EXPECT_EQ(json["format"], "pytorch-zip");
  EXPECT_THAT(json["problems"], IsEmpty());
}

TEST(Convert, ReplacesAModelOnlyWithTheFlag) {
  const test::Program program;
  ASSERT_EQ(program.run("convert " + minilm + " new").status, 0);
  const auto refused = program.run("convert " + minilm + " new --dtype f32");
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("new: holds a model already"));
  const auto size = std::filesystem::file_size(program.path("new/model.safetensors"));
  EXPECT_EQ(program.run("convert " + minilm + " new --dtype f32 --overwrite").status, 0);
  EXPECT_GT(std::filesystem::file_size(program.path("new/model.safetensors")), size);
}

TEST(Convert, SaysThatANameBecomesAFolder) {
  const test::Program program;
  const auto outcome = program.run("convert " + minilm + " model.ckpt");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.err, HasSubstr("model.ckpt becomes a folder"));
  EXPECT_THAT(program.run("convert " + minilm + " model-1.0").err, Not(HasSubstr("a folder")));
  EXPECT_EQ(program.run("convert " + minilm + " Q.ONNX").status, 0);
  EXPECT_TRUE(std::filesystem::is_regular_file(program.path("Q.ONNX")));
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

TEST(Convert, TheReferencesFlagForTheConfigWorksAlone) {
  const test::Program program;
  std::filesystem::create_directory(program.path("in"));
  std::filesystem::copy(minilm + "/model.safetensors", program.path("in"));
  EXPECT_EQ(program.run("convert in new").status, 2) << "there is no config";
  const std::string config = minilm + "/config.json";
  const auto outcome = program.run("convert in x.bin --bert_config_file " + config);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(
      program.run("convert in x.bin --bert_config_file " + config + " --config " + config).status,
      2);
}

TEST(Convert, TakesOnlyVocabulariesOfTheModel) {
  const test::Program program;
  std::string many = program.read(minilm + "/vocab.txt");
  many += "onemorepiece\n";
  program.write("many.txt", many);
  auto outcome = program.run("convert " + minilm + " new --vocab many.txt");
  EXPECT_EQ(outcome.status, 3);
  EXPECT_THAT(outcome.err, HasSubstr("many.txt: has 30523 pieces, but the model embeds 30522"));
  outcome = program.run("convert " + minilm + " new --vocab " + test::kProgram);
  EXPECT_EQ(outcome.status, 3);
  EXPECT_FALSE(std::filesystem::exists(program.path("new")));
  outcome = program.run("convert " + minilm + " x.bin --vocab absent");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("absent: there is no such vocabulary"));
}

TEST(Convert, NeitherWaitsForAPipeNorReadsItTwice) {
  const test::Program program;
  std::filesystem::copy(minilm, program.path("m"));
  std::filesystem::remove(program.path("m/vocab.txt"));
  ASSERT_EQ(::mkfifo(program.path("m/vocab.txt").c_str(), 0600), 0);
  auto outcome = program.run("convert m new");
  EXPECT_EQ(outcome.status, 3);
  EXPECT_THAT(outcome.err, HasSubstr("m/vocab.txt: is not a regular file"));
  const std::string cat = "cat " + minilm + "/vocab.txt |";
  for (const char* flags : {"", " --uncased"}) {
    outcome = program.run("convert m new --vocab /dev/stdin" + std::string(flags), cat);
    EXPECT_EQ(outcome.status, 3);
    EXPECT_THAT(outcome.err, HasSubstr("/dev/stdin: is not a regular file; give one"));
  }
  EXPECT_FALSE(std::filesystem::exists(program.path("new")));
  outcome = program.run(
      "convert --tf_checkpoint_path m --pytorch_dump_path new.bin --vocab /dev/stdin", cat);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("goes with the weights: /dev/stdin: is not a regular file"));
  EXPECT_EQ(program.run("tokenize --vocab /dev/stdin word", cat).status, 0);
}

TEST(Convert, TakesNothingFromWhatAKilledOneLeft) {
  const test::Program program;
  program.write("victim", "old");
  ASSERT_EQ(program.run("convert " + minilm + " made").status, 0);
  auto outcome = program.run("convert " + minilm + " new",
                             "d=new.partial-$$-0; mkdir $d; echo {} | tee $d/config.json >$d/other;"
                             "exec");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_FALSE(std::filesystem::exists(program.path("new/other")));
  EXPECT_EQ(program.read("new/config.json"), program.read("made/config.json"));
  outcome = program.run("convert " + minilm + " x.bin", "ln -s victim x.bin.partial-$$-0; exec");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_FALSE(std::filesystem::is_symlink(program.path("x.bin")));
  EXPECT_EQ(program.read("victim"), "old");
}

TEST(Convert, AFullDiskIsToldUnderTheNameThatWasGiven) {
  const test::Program program;
  for (const char* format : {"safetensors", "pytorch", "onnx"}) {
    const auto outcome =
        program.run("convert " + minilm + " new --to " + format, "ulimit -f 2000;");
    EXPECT_EQ(outcome.status, 1);
    EXPECT_THAT(outcome.err, HasSubstr(" new/"));
    EXPECT_THAT(outcome.err, HasSubstr(": cannot be written"));
    EXPECT_THAT(outcome.err, Not(HasSubstr(".partial-")));
  }
  EXPECT_FALSE(std::filesystem::exists(program.path("new")));
}

TEST(Convert, SaysWhichFlagsDoNothingForOneFile) {
  const test::Program program;
  const auto outcome =
      program.run("convert " + minilm + " x.bin --cased --vocab " + minilm + "/vocab.txt");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.err, HasSubstr("--vocab does nothing here: x.bin is one file of weights"));
  EXPECT_THAT(outcome.err, HasSubstr("--cased does nothing here"));
}

TEST(Convert, AFullDiskLeavesTheModelThatWasThere) {
  const test::Program program;
  ASSERT_EQ(program.run("convert " + minilm + " made --cased").status, 0);
  const std::string before = program.read("made/tokenizer_config.json");
  const auto outcome =
      program.run("convert " + minilm + " made --uncased --overwrite", "ulimit -f 2000;");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("model.safetensors: cannot be written"));
  EXPECT_EQ(program.read("made/tokenizer_config.json"), before);
  for (const auto& entry : std::filesystem::directory_iterator(program.path("made"))) {
    EXPECT_THAT(entry.path().string(), Not(HasSubstr(".partial-")));
  }
}

/// A file of weights that takes no room on the disk: gigabytes of zeros.
void write_large_model(const test::Program& program) {
  BertConfig config;
  config.vocab_size = 500'000;
  std::filesystem::create_directory(program.path("large"));
  program.write("large/config.json", config.to_json());
  nlohmann::json header = nlohmann::json::object();
  size_t end = 0;
  for (const ParameterInfo& info : bert_parameters(config)) {
    const size_t begin = end;
    end += static_cast<size_t>(info.size()) * sizeof(float);
    header[info.name] = {{"dtype", "F32"}, {"shape", info.shape}, {"data_offsets", {begin, end}}};
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  program.write("large/model.safetensors",
                std::string(reinterpret_cast<const char*>(&length), sizeof length) + text);
  std::filesystem::resize_file(program.path("large/model.safetensors"),
                               sizeof length + text.size() + end);
}

std::string partial_in(const std::filesystem::path& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::string name = entry.path().filename().string();
    if (name.find(".partial-") != std::string::npos) return name;
  }
  return "";
}

TEST(Convert, SaysWhenAFileIsCutWhileItIsRead) {
  const test::Program program;
  write_large_model(program);
  const pid_t process = program.start("convert large x.bin");
  while (partial_in(program.path("")).empty() && !test::Program::has_ended(process)) ::usleep(1000);
  std::filesystem::resize_file(program.path("large/model.safetensors"), 1 << 20);
  const auto outcome = program.wait(process);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("has become shorter"));
}

TEST(Convert, ASignalLeavesNothing) {
  const test::Program program;
  write_large_model(program);
  for (const auto& [out, number] : {std::pair("new", SIGTERM), std::pair("x.bin", SIGINT)}) {
    const pid_t process = program.start(std::string("convert large ") + out);
    while (partial_in(program.path("")).empty() && !test::Program::has_ended(process)) {
      ::usleep(1000);
    }
    ::kill(process, number);
    const auto outcome = program.wait(process);
    EXPECT_EQ(outcome.status, 128 + number) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(std::string(out) + " is not written"));
    EXPECT_EQ(partial_in(program.path("")), "");
    EXPECT_FALSE(std::filesystem::exists(program.path(out)));
  }
}

}  // namespace
}  // namespace bertrand
