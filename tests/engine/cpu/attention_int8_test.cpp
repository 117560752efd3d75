// Attention in 8 bits: near the formula, the same bits on every instruction set this machine has.
#include "engine/cpu/attention_int8.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "instruction_sets.h"
#include "oracle.h"
#include "small_engine.h"

namespace bertrand::test {
namespace {

class AttentionInt8 : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

INSTANTIATE_TEST_SUITE_P(All, AttentionInt8, testing::ValuesIn(instruction_sets()),
                         [](const auto& set) { return std::string(hwy::TargetName(set.param)); });

enum Part : size_t { kQuery, kKey, kValue };

/// Query, key and value of one head, inside wider rows as in the engine.
struct Head {
  size_t length, size, stride;
  std::vector<float> rows;

  Head(size_t tokens, size_t head_size, uint32_t seed = 1)
      : length(tokens),
        size(head_size),
        stride(3 * head_size + 5),
        rows(random_floats(tokens * stride, seed)) {}

  float& at(Part part, size_t token, size_t i) { return rows[token * stride + part * size + i]; }

  /// Every value of a part is made anew of the old one.
  template <typename Function>
  void change(Part part, const Function& function) {
    for (size_t token = 0; token < length; ++token) {
      for (size_t i = 0; i < size; ++i) {
        at(part, token, i) = function(at(part, token, i), token, i);
      }
    }
  }

  Doubles part(Part which) const {
    Doubles taken;
    for (size_t token = 0; token < length; ++token) {
      const auto begin = rows.begin() + static_cast<std::ptrdiff_t>(token * stride + which * size);
      taken.insert(taken.end(), begin, begin + static_cast<std::ptrdiff_t>(size));
    }
    return taken;
  }

  Doubles oracle() const {
    return attention_oracle(length, size, part(kQuery), part(kKey), part(kValue),
                            Doubles(length * length, 1.0));
  }
};

/// context [length, size]. `scratch` may be that of another head.
std::vector<float> context_of(const Head& head, cpu::Int8AttentionScratch& scratch) {
  constexpr float kUntouched = 77;
  const size_t stride = head.size + 3;
  const float* first = head.rows.data();
  std::vector<float> wide(head.length * stride, kUntouched);
  cpu::attention_int8({head.length, head.size, first, first + head.size, first + 2 * head.size,
                       head.stride, DropoutKey(), /*window=*/9, /*head=*/2, /*kept=*/nullptr},
                      scratch, wide.data(), stride);
  std::vector<float> context;
  for (size_t token = 0; token < head.length; ++token) {
    const auto row = wide.begin() + static_cast<std::ptrdiff_t>(token * stride);
    const auto end = row + static_cast<std::ptrdiff_t>(head.size);
    context.insert(context.end(), row, end);
    EXPECT_TRUE(std::all_of(end, end + 3, [&](float x) { return x == kUntouched; }))
        << "written past a row";
  }
  return context;
}

std::vector<float> context_of(const Head& head) {
  cpu::Int8AttentionScratch scratch;
  return context_of(head, scratch);
}

/// |context - formula| / |formula|.
double error_of(const Head& head) {
  const Doubles formula = head.oracle();
  return relative_difference(context_of(head), {formula.begin(), formula.end()});
}

const std::vector<size_t> all_sizes = {1, 5, 16, 27, 32, 64, 80, 130};
const std::vector<size_t> all_lengths = {1, 2, 3, 4, 7, 12, 13, 16, 17, 63, 64, 65, 129, 384, 512};

TEST_P(AttentionInt8, IsNearTheFormula) {
  for (const size_t size : all_sizes) {
    for (const size_t length : all_lengths) {
      if (size * length > 64 * 384) continue;  // the formula takes long
      EXPECT_LT(error_of(Head(length, size)), 0.03) << length << " tokens, heads of " << size;
    }
  }
}

TEST_P(AttentionInt8, HasTheSameBitsEverywhere) {
  cpu::Int8AttentionScratch scratch;
  for (const size_t size : all_sizes) {
    for (const size_t length : all_lengths) {
      Head head(length, size);
      // Some scores far below the others, whose powers are cut off.
      head.change(kQuery, [](float x, size_t token, size_t) { return token % 3 == 0 ? 9 * x : x; });
      const auto here = context_of(head, scratch);
      hwy::SetSupportedTargetsForTest(instruction_sets().back());
      const auto plain = context_of(head);
      hwy::SetSupportedTargetsForTest(GetParam());
      ASSERT_EQ(here, plain) << length << " tokens, heads of " << size;
    }
  }
}

TEST_P(AttentionInt8, OneTokenGivesItsValue) {
  Head head(1, 32);
  const std::vector<float> value(head.rows.begin() + 64, head.rows.begin() + 96);
  EXPECT_EQ(context_of(head), value);
}

TEST_P(AttentionInt8, EqualScoresGiveTheMeanOfValues) {
  for (const size_t length : {size_t{2}, size_t{31}, size_t{384}}) {
    Head head(length, 32);
    head.change(kKey, [](float, size_t, size_t i) { return static_cast<float>(i) - 7; });
    EXPECT_LT(error_of(head), 0.01) << length;
  }
}

TEST_P(AttentionInt8, OneKeyMayDominate) {
  Head head(200, 64);
  head.change(kQuery, [](float, size_t, size_t) { return 1.0F; });
  head.change(kKey, [](float x, size_t token, size_t) { return token == 150 ? 5.0F : 0.1F * x; });
  EXPECT_LT(error_of(head), 0.01);
}

TEST_P(AttentionInt8, ManySmallProbabilitiesAreNotLost) {
  // Next to the largest each is below half a step, together they are more than it.
  Head head(512, 32);
  const float high = std::log(600.0F) / std::sqrt(32.0F);
  head.change(kQuery, [](float, size_t, size_t) { return 1.0F; });
  head.change(kKey, [&](float, size_t token, size_t) { return token == 40 ? high : 0.0F; });
  head.change(kValue, [](float x, size_t token, size_t) { return token == 40 ? 3.0F : x - 2; });
  EXPECT_LT(error_of(head), 0.02);
}

TEST_P(AttentionInt8, WhatAllKeysHaveInCommonCostsNothing) {
  Head head(100, 32);
  const double before = error_of(head);
  head.change(kKey, [](float x, size_t, size_t i) { return x + (i % 7 == 0 ? 30.0F : 0.0F); });
  EXPECT_LT(error_of(head), 1.5 * before);
}

TEST_P(AttentionInt8, RowsOfZerosAndTinyNumbersAreNumbers) {
  for (const float value : {0.0F, 1e-37F, std::numeric_limits<float>::denorm_min()}) {
    for (const Part part : {kQuery, kKey, kValue}) {
      Head head(20, 16);
      head.change(part,
                  [&](float, size_t token, size_t) { return token % 2 == 0 ? value : -value; });
      const auto context = context_of(head);
      ASSERT_TRUE(
          std::all_of(context.begin(), context.end(), [](float x) { return std::isfinite(x); }));
      if (part != kValue) {
        EXPECT_LT(error_of(head), 0.02);
      }
    }
  }
}

TEST_P(AttentionInt8, WhatIsNoNumberShows) {
  constexpr size_t kLength = 37;
  constexpr size_t kSize = 27;
  for (const float wrong :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const size_t token : {size_t{0}, size_t{36}}) {
      for (const size_t place : {size_t{3}, size_t{26}}) {
        for (const Part part : {kQuery, kKey, kValue}) {
          Head head(kLength, kSize);
          head.at(part, token, place) = wrong;
          const auto context = context_of(head);
          for (size_t i = 0; i < context.size(); ++i) {
            const bool is_touched = part == kKey || (part == kQuery && i / kSize == token) ||
                                    (part == kValue && i % kSize == place);
            ASSERT_EQ(std::isfinite(context[i]), !is_touched) << part << ' ' << token << ' ' << i;
          }
        }
      }
    }
  }
}

TEST_P(AttentionInt8, MemoryOfOtherHeadsLeavesNoTrace) {
  cpu::Int8AttentionScratch scratch;
  for (const auto& [length, size] :
       {std::pair<size_t, size_t>{300, 64}, {13, 27}, {70, 32}, {5, 5}}) {
    const Head head(length, size);
    EXPECT_EQ(context_of(head, scratch), context_of(head));
  }
}

}  // namespace
}  // namespace bertrand::test
