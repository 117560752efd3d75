#include <filesystem>
#include <memory>
#include <string>
#include <zlib.h>

#include <gtest/gtest.h>

#include "shared_data.h"
#include "squad/dataset.h"
#include "squad/window_table.h"
#include "squad/windows.h"

namespace bertrand {
namespace {

std::string read_gzip(const std::filesystem::path& path) {
  std::string text;
  const gzFile file = ::gzopen(path.c_str(), "rb");
  char buffer[1 << 16];
  for (int got = 0; (got = ::gzread(file, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(got));
  }
  EXPECT_EQ(::gzclose(file), Z_OK) << path;
  return text;
}

/// The first line that differs, from both sides.
std::string first_difference(const std::string& found, const std::string& expected) {
  size_t at = 0;
  while (at < std::min(found.size(), expected.size()) && found[at] == expected[at]) ++at;
  const size_t begin = at == 0 ? 0 : expected.rfind('\n', at - 1) + 1;
  return "found    " + found.substr(begin, found.find('\n', at) - begin) + "\nexpected " +
         expected.substr(begin, expected.find('\n', at) - begin);
}

struct Golden {
  const char* letters;
  const char* set;
  size_t windows;
};

// NOLINTNEXTLINE(readability-identifier-naming): GoogleTest looks for this name
void PrintTo(const Golden& golden, std::ostream* out) {
  *out << golden.letters << ' ' << golden.set;
}

class WindowsGolden : public testing::TestWithParam<Golden> {};

// Every window of SQuAD v1.1 is the one the reference system makes.
TEST_P(WindowsGolden, EveryRowIsEqual) {
  const auto [letters, set, count] = GetParam();
  const std::string golden = std::string("data/golden/features/") + letters + "-" + set + ".tsv.gz";
  BERTRAND_NEEDS_SHARED(golden);
  const std::filesystem::path data = test::shared_folder() / "data";

  TokenizerOptions options;
  options.lower_case = letters == std::string("uncased");
  options.behaviour = TokenizerOptions::Behaviour::reference;
  const Tokenizer tokenizer(
      std::make_shared<const Vocabulary>(
          Vocabulary::load(data / "vocab" / (std::string("bert-base-") + letters + "-vocab.txt"))),
      options);
  const Dataset dataset = Dataset::load(data / "squad" / (std::string(set) + "-v1.1.json"));
  WindowOptions window_options;
  window_options.training = set == std::string("train");
  const WindowSet windows = make_windows(dataset, tokenizer, window_options, /*threads=*/2);
  EXPECT_EQ(windows.size(), count);
  EXPECT_TRUE(windows.report().skipped.empty());
  EXPECT_TRUE(windows.report().empty_contexts.empty());

  std::string table;
  write_window_table(dataset, windows, /*threads=*/2,
                     [&](std::string_view lines) { table += lines; });
  const std::string expected = read_gzip(test::shared_folder() / golden);
  EXPECT_TRUE(table == expected) << first_difference(table, expected);
}

INSTANTIATE_TEST_SUITE_P(
    , WindowsGolden,
    testing::Values(Golden{"uncased", "dev", 10833}, Golden{"uncased", "train", 88641},
                    Golden{"cased", "dev", 10881}, Golden{"cased", "train", 88864}),
    [](const auto& golden) { return std::string(golden.param.letters) + "_" + golden.param.set; });

}  // namespace
}  // namespace bertrand
