#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "checkpoint/convert.h"
#include "checkpoint/fixtures.h"
#include "shared_data.h"

namespace bertrand {
namespace {

/// Runs a script of this folder with the Python that `variable` names; false where it names none.
bool run_script(const char* variable, const std::string& arguments) {
  const char* python = std::getenv(variable);
  if (python == nullptr) return false;
  const auto folder = test::source_folder() / "tests/checkpoint";
  const std::string command = fmt::format("cd '{}' && '{}' {}", folder.string(), python, arguments);
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  return true;
}

double number_at(const TensorInfo& info, std::span<const std::byte> bytes, size_t index) {
  const std::byte* place = bytes.data() + index * size_of(info.type);
  const auto load = [&](auto value) {
    std::memcpy(&value, place, sizeof value);
    return static_cast<double>(value);
  };
  switch (info.type) {
    case DataType::i64:
      return load(int64_t{});
    case DataType::f64:
      return load(double{});
    case DataType::boolean:
      return load(uint8_t{});
    default:
      break;
  }
  float value = 0;
  to_f32({info.name, info.type, {1}, {place, size_of(info.type)}}, {&value, 1});
  return value;
}

/// Every tensor that is expected is there with exactly these values.
void expect_values(const Checkpoint& checkpoint, const nlohmann::json& expected) {
  size_t found = 0;
  std::vector<std::byte> buffer;
  for (size_t i = 0; i < checkpoint.tensors().size(); ++i) {
    const TensorInfo& info = checkpoint.tensors()[i];
    if (!expected.contains(info.name)) {
      ADD_FAILURE() << "unexpected " << info.name;
      continue;
    }
    ++found;
    const auto& values =
        expected[info.name].back().is_array() ? expected[info.name].back() : expected[info.name];
    const auto bytes = checkpoint.read(i, buffer);
    ASSERT_EQ(values.size(), static_cast<size_t>(info.size())) << info.name;
    for (size_t k = 0; k < values.size(); ++k) {
      ASSERT_EQ(number_at(info, bytes, k), values[k].get<double>()) << info.name << " " << k;
    }
  }
  EXPECT_EQ(found, expected.size());
}

class PeerTorch : public ::testing::TestWithParam<const char*> {};

TEST_P(PeerTorch, WritesWhatWeRead) {
  const test::TemporaryFolder folder;
  if (!run_script(GetParam(), "peer_torch.py write " + folder.path().string())) {
    GTEST_SKIP() << "set " << GetParam() << " to a python that has torch";
  }
  const auto expected = nlohmann::json::parse(test::read(folder / "expected.json"));
  for (const char* form : {"zip", "nested", "legacy"}) {
    for (const int protocol : {2, 4}) {
      const auto name = fmt::format("{}-{}.pt", form, protocol);
      SCOPED_TRACE(name);
      expect_values(*open_checkpoint(folder / name), expected);
    }
  }
}

TEST_P(PeerTorch, SavesTrainingsWhoseModelsWeFind) {
  const test::TemporaryFolder folder;
  if (!run_script(GetParam(), "peer_torch.py training " + folder.path().string())) {
    GTEST_SKIP() << "set " << GetParam() << " to a python that has torch";
  }
  const auto expected = nlohmann::json::parse(test::read(folder / "expected.json"));
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    if (entry.path().extension() != ".pt") continue;
    SCOPED_TRACE(entry.path().filename());
    expect_values(*open_checkpoint(entry.path()), expected);
    ++files;
  }
  EXPECT_EQ(files, 29U);
}

TEST_P(PeerTorch, ReadsWhatWeWrite) {
  BERTRAND_NEEDS_SHARED("data/golden/bert-tiny");
  const test::TemporaryFolder folder;
  for (const char* name :
       {"model.safetensors", "model-bf16.safetensors", "pytorch_model-f16.bin"}) {
    ConvertOptions options;
    options.in = test::shared_folder() / "data/golden/bert-tiny" / name;
    options.out = folder / "ours.bin";
    options.format = WeightFormat::pytorch;
    options.single_file = true;
    convert(options, [](uint64_t, uint64_t) {});
    if (!run_script(GetParam(), fmt::format("peer_torch.py read {} > {}", options.out.string(),
                                            (folder / "read.json").string()))) {
      GTEST_SKIP() << "set " << GetParam() << " to a python that has torch";
    }
    expect_values(*open_checkpoint(options.in),
                  nlohmann::json::parse(test::read(folder / "read.json")));
  }
}

INSTANTIATE_TEST_SUITE_P(Versions, PeerTorch,
                         ::testing::Values("BERTRAND_PEER_PYTHON", "BERTRAND_PEER_OLD_TORCH"));

TEST(PeerTensorFlow, WritesWhatWeRead) {
  const test::TemporaryFolder folder;
  if (!run_script("BERTRAND_PEER_TENSORFLOW", "peer_tensorflow.py " + folder.path().string())) {
    GTEST_SKIP() << "set BERTRAND_PEER_TENSORFLOW to a python that has tensorflow";
  }
  const auto expected = nlohmann::json::parse(test::read(folder / "expected.json"));
  for (const char* name : {"plain", "partitioned"}) {
    SCOPED_TRACE(name);
    const auto checkpoint = open_checkpoint(folder / name);
    expect_values(*checkpoint, expected);
    EXPECT_EQ(checkpoint->others().size(), 2U);
  }
}

TEST(PeerOnnx, ComputesTheSameLogits) {
  BERTRAND_NEEDS_SHARED("data/golden/bert-tiny");
  const auto golden = test::shared_folder() / "data/golden/bert-tiny";
  const test::TemporaryFolder folder;
  std::filesystem::copy(golden / "config.json", folder / "config.json");
  std::filesystem::copy(golden / "model.safetensors", folder / "model.safetensors");
  for (const char* activation : {"gelu", "gelu_new"}) {
    std::string config = test::read(golden / "config.json");
    const std::string before = "\"hidden_act\": \"gelu\"";
    config.replace(config.find(before), before.size(),
                   fmt::format("\"hidden_act\": \"{}\"", activation));
    test::write(folder / "config.json", config);
    ConvertOptions options;
    options.in = folder / "model.safetensors";
    options.out = folder / "model.onnx";
    options.format = WeightFormat::onnx;
    options.single_file = true;
    convert(options, [](uint64_t, uint64_t) {});
    const char* expected = std::string(activation) == "gelu" ? "forward-f32.safetensors"
                                                             : "forward-f64-gelu-tanh.safetensors";
    if (!run_script(
            "BERTRAND_PEER_PYTHON",
            fmt::format("peer_onnx.py '{}' '{}' '{}'", options.out.string(),
                        (golden / "batch.safetensors").string(), (golden / expected).string()))) {
      GTEST_SKIP() << "set BERTRAND_PEER_PYTHON to a python that has onnx and onnxruntime";
    }
  }
}

}  // namespace
}  // namespace bertrand
