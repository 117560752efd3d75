#include "model/packing.h"

namespace bertrand {

void PackedBatch::add(std::span<const int32_t> window_ids, size_t segment_begin, uint64_t key) {
  ids.insert(ids.end(), window_ids.begin(), window_ids.end());
  segments.resize(segments.size() + segment_begin, 0);
  segments.resize(ids.size(), 1);
  offsets.push_back(static_cast<int32_t>(ids.size()));
  keys.push_back(key);
}

void PackedBatch::clear() {
  ids.clear();
  segments.clear();
  offsets.assign(1, 0);
  keys.clear();
}

}  // namespace bertrand
