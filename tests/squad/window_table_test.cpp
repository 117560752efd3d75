#include "squad/window_table.h"

#include <string>

#include <gtest/gtest.h>

#include "small_vocabulary.h"

namespace bertrand {
namespace {

std::string table(const Dataset& dataset, const WindowSet& windows, unsigned threads) {
  std::string lines;
  write_window_table(dataset, windows, threads, [&](std::string_view more) { lines += more; });
  return lines;
}

TEST(WindowTable, HasALineAWindow) {
  Dataset dataset;
  dataset.paragraphs = {"the fox over dog ("};
  dataset.examples = {{"first", "who", 0, {{"dog (", 13}}}, {"second", "who", 0, {{"fox", 4}}}};
  WindowOptions options;
  options.max_seq_length = 8;  // the fox over dog | dog (
  options.doc_stride = 3;
  // The checksums are those of Python's zlib.crc32.
  const std::string first = "8\taf5a0f2e\t3db6d4ee\t278eafa9\tf626d399\t";
  const std::string second = "6\t3a03967a\t4c72e1b4\t64cf4fdd\t36de2269\t";
  const Tokenizer tokenizer = test::small_tokenizer();
  EXPECT_EQ(table(dataset, make_windows(dataset, tokenizer, options, 1), 1),
            "first\t0\t" + first + "-1\t-1\n" + "first\t1\t" + second + "-1\t-1\n" + "second\t0\t" +
                first + "-1\t-1\n" + "second\t1\t" + second + "-1\t-1\n");
  options.training = true;
  EXPECT_EQ(table(dataset, make_windows(dataset, tokenizer, options, 1), 1),
            "first\t0\t" + first + "0\t0\n" + "first\t1\t" + second + "3\t4\n" + "second\t0\t" +
                first + "4\t4\n" + "second\t1\t" + second + "0\t0\n");
}

TEST(WindowTable, KeepsTheOrderWhateverTheThreads) {
  Dataset dataset;
  for (uint32_t i = 0; i < 3000; ++i) {
    dataset.paragraphs.push_back("the fox " + std::string(i % 7, '.'));
    dataset.examples.push_back({std::to_string(i), "who", i, {}});
  }
  const WindowSet windows = make_windows(dataset, test::small_tokenizer(), {}, 3);
  const std::string alone = table(dataset, windows, 1);
  EXPECT_EQ(std::count(alone.begin(), alone.end(), '\n'), 3000);
  EXPECT_TRUE(table(dataset, windows, 3) == alone);
  for (size_t i = 0, at = 0; i < 3000; ++i, at = alone.find('\n', at) + 1) {
    ASSERT_EQ(alone.compare(at, std::to_string(i).size() + 1, std::to_string(i) + "\t"), 0);
  }
}

TEST(WindowTable, OfNoWindowsIsEmpty) {
  const Dataset dataset;
  EXPECT_EQ(table(dataset, make_windows(dataset, test::small_tokenizer(), {}, 2), 2), "");
}

}  // namespace
}  // namespace bertrand
