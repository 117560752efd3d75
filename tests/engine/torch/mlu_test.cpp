// The device "mlu" of the stand-in: that it is as strict as a card, and what the engine asks of it.
#include <cstdlib>
#include <dlfcn.h>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/cpu/small_engine.h"
#include "places.h"
#include "standin_mlu/counters.h"
#include "torch_tests.h"

namespace bertrand::test {
namespace {

using testing::HasSubstr;

std::string standin(const std::string& folder) {
  return std::filesystem::path(kStandinMlu) / folder / "libtorch_mlu.so";
}

/// A function of the library that is open.
template <typename Function>
Function* of_standin(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_DEFAULT, name));
}

StandinMluCounts counts() {
  StandinMluCounts now{};
  of_standin<void(StandinMluCounts*)>("standin_mlu_counts")(&now);
  return now;
}

const char* fallbacks() { return of_standin<const char*()>("standin_mlu_fallbacks")(); }

/// At the end of all tests that computed there: nothing fell back to the host unseen.
class NoFallbacks : public testing::Environment {
 public:
  void TearDown() override {
    if (test_device().device == "cpu" || built_plugin() == nullptr) return;
    ASSERT_NE(::dlsym(RTLD_DEFAULT, "standin_mlu_fallbacks"), nullptr) << "no test computed there";
    EXPECT_STREQ(fallbacks(), "");
    EXPECT_GT(counts().operators, 0U);
  }
};
[[maybe_unused]] const auto* const kNoFallbacks =
    testing::AddGlobalTestEnvironment(std::make_unique<NoFallbacks>().release());

TorchOptions on(const std::string& device) {
  TorchOptions options;
  options.device = device;
  options.library = standin("backend");
  return options;
}

std::unique_ptr<EngineWithStates> engine_on(const TorchOptions& options) {
  const auto native = small_engine(small_config(2, 16));
  const std::vector<float> all = parameters_of(*native);
  auto engine = make_torch_engine(built_plugin(), native->config(), options);
  size_t at = 0;
  engine->load_parameters([&](const ParameterInfo&, std::span<float> values) {
    std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(at), values.size(), values.begin());
    at += values.size();
  });
  return engine;
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
    return "nothing was thrown";
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(Mlu, TheHostCannotReadItsMemory) {
  BERTRAND_NEEDS_TORCH();
  engine_on(on("mlu"));
  auto* memory =
      static_cast<volatile char*>(of_standin<void*(size_t)>("standin_mlu_allocate")(100));
  EXPECT_DEATH(static_cast<void>(memory[0]), "");
  EXPECT_DEATH(memory[99] = 1, "");
  auto* seen = static_cast<char*>(
      of_standin<void*(const void*)>("standin_mlu_inside")(const_cast<const char*>(memory)));
  EXPECT_EQ(seen[0], char(-1));
}

/// A batch travels in one piece, and one answer comes back: each transfer waits for the card.
TEST(Mlu, LittleTravelsBetweenHostAndDevice) {
  BERTRAND_NEEDS_TORCH();
  TorchOptions options = on("mlu");
  options.example_masks = false;
  const auto engine = engine_on(options);
  const Batch batch = batch_of({60, 20, 33, 90});
  auto expect = [before = counts()](uint64_t to_device, uint64_t to_host) mutable {
    const StandinMluCounts now = counts();
    EXPECT_EQ(now.to_device - before.to_device, to_device);
    EXPECT_EQ(now.to_host - before.to_host, to_host);
    EXPECT_GT(now.operators, before.operators);
    before = now;
  };
  engine->forward(batch.packed);
  expect(1, 1);
  for (uint64_t step = 0; step < 2; ++step) {
    engine->backward(batch.packed, batch.targets, Dropout{1, step, 0.1, 0.1}, 0.25);
    expect(1, 1);
    engine->step(1e-4, OptimizerSettings());
    expect(0, 1);
  }
  EXPECT_STREQ(fallbacks(), "");
}

TEST(Mlu, EachDeviceComputesTheSame) {
  BERTRAND_NEEDS_TORCH();
  const Batch batch = batch_of({30, 7});
  const SpanLogits expected = small_engine(small_config(2, 16))->forward(batch.packed);
  for (const char* device : {"mlu:3", "mlu", "mlu:2"}) {
    const SpanLogits got = engine_on(on(device))->forward(batch.packed);
    EXPECT_LT(relative_difference(got.start, expected.start), 1e-5) << device;
    EXPECT_LT(relative_difference(got.end, expected.end), 1e-5) << device;
  }
  EXPECT_THAT(error_of([] { engine_on(on("mlu:4")); }), HasSubstr("4 such devices, 0 to 3"));
}

TEST(Mlu, IsCounted) {
  BERTRAND_NEEDS_TORCH();
  uint32_t count = 0;
  int32_t has_bf16 = 1;
  const std::string library = standin("backend");
  built_plugin()->check(
      built_plugin()->table().count_devices("mlu", library.c_str(), &count, &has_bf16));
  EXPECT_EQ(count, 4U);
  EXPECT_EQ(has_bf16, 0);
}

TEST(Mlu, OneLibraryAlone) {
  BERTRAND_NEEDS_TORCH();
  engine_on(on("mlu"));
  TorchOptions other = on("mlu");
  other.library = standin("plain");
  EXPECT_THAT(error_of([&] { engine_on(other); }), HasSubstr("is open already"));
  other.library.clear();
  EXPECT_EQ(engine_on(other)->steps(), 0U);
}

}  // namespace
}  // namespace bertrand::test
