#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "distributed/process_group.h"

namespace bertrand {

/// The windows of one epoch, cut into the batches of its steps.
struct EpochOrder {
  std::vector<uint32_t> windows;          ///< indices
  std::vector<size_t> batch_begin = {0};  ///< [batches + 1]: where each begins in `windows`

  size_t batches() const { return batch_begin.size() - 1; }
  std::span<const uint32_t> batch(size_t index) const {
    return std::span(windows).subspan(batch_begin[index],
                                      batch_begin[index + 1] - batch_begin[index]);
  }
};

/// What torch.randperm(size) gives on the CPU with this generator (std::mt19937(seed) is
/// torch.manual_seed(seed)): for i in 0 .. size - 2, i swaps with i + (next mod (size - i)).
std::vector<uint32_t> torch_randperm(uint32_t size, std::mt19937& generator);

/// The reference's order of one epoch. One process: a new permutation each epoch from a generator
/// seeded once by `seed`. Several: the permutation of seed 0, the same every epoch, padded by its
/// own beginning to a multiple of the processes; rank r takes every count-th from r.
EpochOrder torch_order(uint32_t windows, uint32_t batch_size, uint64_t seed, uint64_t epoch,
                       ProcessPlace place);

/// Every window once, shuffled anew by (seed, epoch); pools of 50 batches are sorted by length so
/// that a batch's windows are alike, then the batches are shuffled. Padding and rank as above.
EpochOrder length_aware_order(std::span<const uint32_t> lengths, uint32_t batch_size, uint64_t seed,
                              uint64_t epoch, ProcessPlace place);

}  // namespace bertrand
