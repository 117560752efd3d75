#include <cstdlib>
#include <ostream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "checkpoint/fixtures.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/small_model.h"
#include "checkpoint/vocabulary_file.h"
#include "shared_data.h"

namespace bertrand {
namespace {

struct Case {
  const char* name;
  DataType type;
  bool lower_case;
  std::vector<const char*> tokens;  // of "bd Bd"
};

// NOLINTNEXTLINE(readability-identifier-naming): GoogleTest looks for this name
void PrintTo(const Case& variant, std::ostream* out) { *out << variant.name; }

class PeerTest : public ::testing::TestWithParam<Case> {};

/// What we write transformers loads, and what it saves then we open.
TEST_P(PeerTest, TransformersLoadsAndSavesTheFolder) {
  const char* python = std::getenv("BERTRAND_PEER_PYTHON");
  if (python == nullptr) {
    GTEST_SKIP() << "set BERTRAND_PEER_PYTHON to a python that has torch and transformers";
  }
  const Case& variant = GetParam();
  const test::TemporaryFolder folder;
  ModelFolderContents contents = test::small_contents(folder);
  contents.type = variant.type;
  contents.lower_case = variant.lower_case;
  contents.pooler = {{"bert.pooler.dense.weight", std::vector<float>(36, 3)},
                     {"bert.pooler.dense.bias", std::vector<float>(6, 4)}};
  write_model_folder(folder.path(), contents);
  std::string lines = "bd Bd\n";
  for (const char* token : variant.tokens) {
    lines.append(token).append("\n");
  }
  test::write(folder / "expected_tokens.txt", lines);

  const auto script = test::source_folder() / "tests/checkpoint/peer_transformers.py";
  const std::string command =
      fmt::format("'{}' '{}' '{}'", python, script.string(), folder.path().string());
  ASSERT_EQ(std::system(command.c_str()), 0);

  const ModelFolder before = ModelFolder::open(folder.path());
  const ModelFolder after = ModelFolder::open(folder / "again");
  EXPECT_FALSE(after.lacks_head());
  EXPECT_EQ(after.lower_case(), variant.lower_case);
  EXPECT_EQ(read_vocabulary(after.vocabulary_path()), read_vocabulary(before.vocabulary_path()));
  for (const ParameterInfo& info : contents.parameters) {
    std::vector<float> values(static_cast<size_t>(info.size()));
    std::vector<float> again(values.size());
    before.parameters(0)(info, values);
    after.parameters(0)(info, again);
    EXPECT_EQ(values, again) << info.name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Types, PeerTest,
    ::testing::Values(Case{"F32Uncased", DataType::f32, true, {"b", "##d", "b", "##d"}},
                      Case{"F16Cased", DataType::f16, false, {"b", "##d", "B", "##d"}},
                      Case{"Bf16Uncased", DataType::bf16, true, {"b", "##d", "b", "##d"}}),
    [](const auto& variant) { return variant.param.name; });

}  // namespace
}  // namespace bertrand
