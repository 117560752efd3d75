#include "train/order.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/random.h"

namespace bertrand {
namespace {

/// Random numbers of one epoch, 64 bits at a time.
class EpochRandom {
 public:
  EpochRandom(uint64_t seed, uint64_t epoch)
      : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)},
        epoch_(static_cast<uint32_t>(epoch)) {}

  /// Below `limit`, which is far below 2^32: the high half of a product, whose bias is below 2^-32.
  size_t below(size_t limit) {
    const Philox::Counter bits = Philox::generate(
        {static_cast<uint32_t>(next_), static_cast<uint32_t>(next_ >> 32), epoch_, kPurpose}, key_);
    ++next_;
    const uint64_t low = (uint64_t{bits[1]} * limit) >> 32;
    return (uint64_t{bits[0]} * limit + low) >> 32;
  }

  template <typename T>
  void shuffle(std::vector<T>& values) {
    for (size_t i = values.size(); i > 1; --i) {
      std::swap(values[i - 1], values[below(i)]);
    }
  }

 private:
  static constexpr uint32_t kPurpose = 0x6f726465;  // "orde": apart from any other use of the seed

  Philox::Key key_;
  uint32_t epoch_;
  uint64_t next_ = 0;
};

/// Every count-th window from the rank, after padding by the beginning.
std::vector<uint32_t> part_of(const std::vector<uint32_t>& all, ProcessPlace place) {
  if (place.count == 1) {
    return all;
  }
  std::vector<uint32_t> part;
  const size_t each = (all.size() + place.count - 1) / place.count;
  for (size_t i = 0; i < each; ++i) {
    part.push_back(all[(i * place.count + place.rank) % all.size()]);
  }
  return part;
}

EpochOrder in_batches(std::vector<uint32_t> windows, uint32_t batch_size) {
  EpochOrder order;
  for (size_t begin = 0; begin < windows.size(); begin += batch_size) {
    order.batch_begin.push_back(std::min(begin + batch_size, windows.size()));
  }
  order.windows = std::move(windows);
  return order;
}

}  // namespace

std::vector<uint32_t> torch_randperm(uint32_t size, std::mt19937& generator) {
  std::vector<uint32_t> values(size);
  std::iota(values.begin(), values.end(), 0U);
  for (uint32_t i = 0; i + 1 < size; ++i) {
    const auto draw = static_cast<uint32_t>(generator());
    std::swap(values[i], values[i + draw % (size - i)]);
  }
  return values;
}

EpochOrder torch_order(uint32_t windows, uint32_t batch_size, uint64_t seed, uint64_t epoch,
                       ProcessPlace place) {
  if (place.count > 1) {
    std::mt19937 generator(0);
    return in_batches(part_of(torch_randperm(windows, generator), place), batch_size);
  }
  std::mt19937 generator(static_cast<uint32_t>(seed));
  for (uint64_t past = 0; past < epoch; ++past) {
    torch_randperm(windows, generator);
  }
  return in_batches(torch_randperm(windows, generator), batch_size);
}

EpochOrder length_aware_order(std::span<const uint32_t> lengths, uint32_t batch_size, uint64_t seed,
                              uint64_t epoch, ProcessPlace place) {
  constexpr size_t kPoolBatches = 50;
  EpochRandom random(seed, epoch);
  std::vector<uint32_t> all(lengths.size());
  std::iota(all.begin(), all.end(), 0U);
  random.shuffle(all);
  EpochOrder sorted = in_batches(part_of(all, place), batch_size);
  for (size_t begin = 0; begin < sorted.batches(); begin += kPoolBatches) {
    const size_t end = std::min(begin + kPoolBatches, sorted.batches());
    const auto at = [&](size_t batch) {
      return sorted.windows.begin() + static_cast<std::ptrdiff_t>(sorted.batch_begin[batch]);
    };
    std::stable_sort(at(begin), at(end),
                     [&](uint32_t a, uint32_t b) { return lengths[a] < lengths[b]; });
  }
  std::vector<size_t> batches(sorted.batches());
  std::iota(batches.begin(), batches.end(), size_t{0});
  random.shuffle(batches);
  EpochOrder order;
  for (const size_t batch : batches) {
    const std::span<const uint32_t> windows = sorted.batch(batch);
    order.windows.insert(order.windows.end(), windows.begin(), windows.end());
    order.batch_begin.push_back(order.windows.size());
  }
  return order;
}

}  // namespace bertrand
