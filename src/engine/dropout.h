#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "base/random.h"

namespace bertrand {

/// What dropout masks are made of, for every engine: header only, so that an engine in a library of
/// its own makes the same ones.
///
/// A mask of a step is told from others by its layer (0 for the embeddings') and site, a row of it
/// by the window's key and a place.
enum class DropoutSite : uint32_t { embeddings, attention, attention_output, output };

struct DropoutKey {
  uint32_t words[2] = {0, 0};
  uint32_t threshold = 0;  ///< 16 random bits below this drop the element; 0: no dropout at all
  float scale = 1;         ///< of elements kept
};

/// Mixes seed, step, layer and site into the key of one dropout layer. The probability is rounded
/// to 1/65536.
inline DropoutKey make_dropout_key(uint64_t seed, uint64_t step, uint32_t layer, DropoutSite site,
                                   double probability) {
  const auto low = [](uint64_t value) { return static_cast<uint32_t>(value); };
  const auto high = [](uint64_t value) { return static_cast<uint32_t>(value >> 32); };
  const Philox::Counter mixed = Philox::generate(
      {low(step), high(step), layer, static_cast<uint32_t>(site)}, {low(seed), high(seed)});
  constexpr double kValues = 65536;
  DropoutKey key;
  key.words[0] = mixed[0];
  key.words[1] = mixed[1];
  key.threshold = static_cast<uint32_t>(std::lround(probability * kValues));
  key.scale = static_cast<float>(kValues / (kValues - key.threshold));
  return key;
}

/// The place of a token's hidden states is its position in the window; that of a row of attention
/// probabilities is this.
constexpr uint32_t attention_dropout_place(uint32_t head, uint32_t row) { return row | head << 16; }

/// Random bits come in groups of this many elements.
inline constexpr size_t kDropoutGroup = 128;

/// A group uses 16 counters: counter l gives elements l, 16 + l, .. 112 + l, word w its low half to
/// element 32 w + l and its high half to 32 w + 16 + l. So any vector of up to 16 lanes stores what
/// it has made in one piece, and all instruction sets make the same mask.
inline constexpr size_t kDropoutCounters = 16;

constexpr Philox::Counter dropout_counter(size_t group, size_t lane, uint64_t window,
                                          uint32_t place) {
  return {static_cast<uint32_t>(group * kDropoutCounters + lane), place,
          static_cast<uint32_t>(window), static_cast<uint32_t>(window >> 32)};
}

/// Calls use(element, kept) for the elements of one row, and for those after it up to a whole
/// group. The plain form of what kernels do with vectors.
template <typename Use>
void each_dropout_element(const DropoutKey& key, uint64_t window, uint32_t place, size_t columns,
                          const Use& use) {
  for (size_t group = 0; group * kDropoutGroup < columns; ++group) {
    for (size_t lane = 0; lane < kDropoutCounters; ++lane) {
      const Philox::Counter bits = Philox::generate(dropout_counter(group, lane, window, place),
                                                    {key.words[0], key.words[1]});
      for (size_t word = 0; word < bits.size(); ++word) {
        const size_t element = group * kDropoutGroup + 2 * word * kDropoutCounters + lane;
        use(element, (bits[word] & 0xFFFFU) >= key.threshold);
        use(element + kDropoutCounters, bits[word] >> 16 >= key.threshold);
      }
    }
  }
}

}  // namespace bertrand
