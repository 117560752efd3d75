#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bertrand {

/// The tokens of B windows one after the other, without padding. T = offsets.back().
struct PackedBatch {
  std::vector<int32_t> ids;            ///< [T]
  std::vector<int32_t> segments;       ///< [T], 0 question, 1 document
  std::vector<int32_t> offsets = {0};  ///< [B+1]: window b is tokens offsets[b] .. offsets[b+1]
  std::vector<uint64_t>
      keys;  ///< [B]: what dropout is keyed by, the same wherever the window is batched

  size_t windows() const { return offsets.size() - 1; }
  size_t tokens() const { return ids.size(); }
  size_t length(size_t window) const {
    return static_cast<size_t>(offsets[window + 1] - offsets[window]);
  }

  /// Appends one window: the first `segment_begin` tokens have segment 0, the others 1.
  void add(std::span<const int32_t> window_ids, size_t segment_begin, uint64_t key);
  void clear();
};

/// Where the answers begin and end, as positions inside each window; [B] each.
struct SpanTargets {
  std::vector<int32_t> start;
  std::vector<int32_t> end;
};

/// A score for every token as the begin and as the end of the answer; [T] each.
struct SpanLogits {
  std::vector<float> start;
  std::vector<float> end;
};

}  // namespace bertrand
