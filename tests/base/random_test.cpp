#include "base/random.h"

#include <set>

#include <gtest/gtest.h>

namespace bertrand {
namespace {

struct KnownAnswer {
  Philox::Counter counter;
  Philox::Key key;
  Philox::Counter bits;
};

// The rows "philox4x32 10" of kat_vectors, published with the paper named in base/random.h.
constexpr KnownAnswer kKnownAnswers[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

TEST(Philox, GivesThePublishedBits) {
  for (const KnownAnswer& known : kKnownAnswers) {
    EXPECT_EQ(Philox::generate(known.counter, known.key), known.bits);
  }
}

TEST(Philox, WorksWhileCompiling) {
  static_assert(Philox::generate({0, 0, 0, 0}, {0, 0})[0] == 0x6627e8d5);
  constexpr Philox::Counter kBits = Philox::generate({1, 2, 3, 4}, {5, 6});
  EXPECT_EQ(kBits, Philox::generate({1, 2, 3, 4}, {5, 6}));
}

TEST(Philox, EveryCounterAndKeyWordMatters) {
  std::set<Philox::Counter> seen{Philox::generate({0, 0, 0, 0}, {0, 0})};
  for (size_t word = 0; word < 4; ++word) {
    Philox::Counter counter{};
    counter[word] = 1;
    seen.insert(Philox::generate(counter, {0, 0}));
  }
  for (size_t word = 0; word < 2; ++word) {
    Philox::Key key{};
    key[word] = 1;
    seen.insert(Philox::generate({0, 0, 0, 0}, key));
  }
  EXPECT_EQ(seen.size(), 7U);
}

TEST(Philox, BitsAreEven) {
  // Ones in each of 32 places over 4 * 16384 words: mean 32768, deviation 128; five of them.
  constexpr uint32_t kCounters = 16384;
  std::array<uint32_t, 32> ones{};
  for (uint32_t index = 0; index < kCounters; ++index) {
    for (const uint32_t word : Philox::generate({index, 0, 0, 0}, {7, 0})) {
      for (size_t place = 0; place < 32; ++place) {
        ones[place] += (word >> place) & 1U;
      }
    }
  }
  for (const uint32_t count : ones) {
    EXPECT_NEAR(count, 2.0 * kCounters, 640);
  }
}

}  // namespace
}  // namespace bertrand
