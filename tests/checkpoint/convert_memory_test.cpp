// How much memory the conversion of a checkpoint takes.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/convert.h"
#include "checkpoint/fixtures.h"
#include "checkpoint/made_bundle.h"
#include "checkpoint/peak_memory.h"
#include "checkpoint/safetensors.h"

namespace bertrand {
namespace {

/// A TensorFlow checkpoint of `layers` layers of 32 MB each, with the word embeddings in `parts`
/// slices.
void write_large_bundle(const test::TemporaryFolder& folder, int64_t layers, uint64_t parts = 1) {
  BertConfig config;
  config.hidden_size = 1024;
  config.num_attention_heads = 16;
  config.num_hidden_layers = layers;
  config.intermediate_size = 2048;
  config.vocab_size = 5000;
  test::write(folder / "bert_config.json", config.to_json());
  test::write_bundle((folder / "model.ckpt").string(), config, parts);
}

void run(const test::TemporaryFolder& folder, WeightFormat format, const char* name) {
  ConvertOptions options;
  options.in = folder / "model.ckpt";
  options.out = folder / name;
  options.format = format;
  options.single_file = true;
  convert(options, [](uint64_t, uint64_t) {});
}

TEST(ConvertMemory, TensorsAreTurnedAndWrittenInParts) {
  const test::TemporaryFolder folder;
  write_large_bundle(folder, 1);
  for (const auto& [format, name] : {std::pair(WeightFormat::safetensors, "x.safetensors"),
                                     std::pair(WeightFormat::pytorch, "x.bin")}) {
    const test::PeakMemory peak;
    run(folder, format, name);
    EXPECT_LT(peak.bytes(), size_t{6} << 20) << "the largest tensor has 20 MB";
  }

  // Each value of a kernel is its place there, and here its place in the transpose.
  const SafetensorsFile file = SafetensorsFile::open(folder / "x.safetensors");
  const TensorView& weight = *file.find("bert.encoder.layer.0.intermediate.dense.weight");
  std::vector<float> values(static_cast<size_t>(weight.size()));
  to_f32(weight, values);
  constexpr size_t kIn = 1024;
  constexpr size_t kOut = 2048;
  for (size_t out = 0; out < kOut; ++out) {
    for (size_t in = 0; in < kIn; ++in) {
      ASSERT_EQ(values[out * kIn + in], static_cast<float>(in * kOut + out));
    }
  }
}

TEST(ConvertMemory, SlicesOfATensorAreWrittenOneByOne) {
  const test::TemporaryFolder folder;
  write_large_bundle(folder, 1);
  run(folder, WeightFormat::safetensors, "whole.safetensors");
  write_large_bundle(folder, 1, /*parts=*/3);
  const test::PeakMemory peak;
  run(folder, WeightFormat::safetensors, "sliced.safetensors");
  EXPECT_LT(peak.bytes(), size_t{6} << 20) << "the word embeddings have 20 MB";
  EXPECT_TRUE(test::read(folder / "sliced.safetensors") ==
              test::read(folder / "whole.safetensors"));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(ConvertMemory, PagesOfWhatIsDoneAreGivenBack) {
  const test::TemporaryFolder folder;
  write_large_bundle(folder, 5);
  const pid_t child = ::fork();
  if (child == 0) {
    run(folder, WeightFormat::safetensors, "x.safetensors");
    ::_exit(0);
  }
  int status = -1;
  struct rusage usage {};
  ASSERT_EQ(::wait4(child, &status, 0, &usage), child);
  ASSERT_EQ(status, 0);
  constexpr long kLargest = 5000 * 4;  // KB, as ru_maxrss; all tensors have 180 MB
  EXPECT_LT(usage.ru_maxrss, kLargest + (64 << 10));
}
#endif

}  // namespace
}  // namespace bertrand
