#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "squad/windows.h"

namespace bertrand::test {

/// Windows over 30 word pieces that a SmallEngine can learn: the answer begins where piece 7 stands
/// and ends where piece 8 does.
class SmallWindows {
 public:
  explicit SmallWindows(uint32_t count, uint32_t per_example = 1, uint32_t seed = 3) {
    std::mt19937 random(seed);
    ids_.reserve(count);
    for (uint32_t i = 0; i < count; ++i) {
      std::vector<int32_t>& ids = ids_.emplace_back(6 + random() % 9);
      for (int32_t& id : ids) {
        id = static_cast<int32_t>(9 + random() % 21);
      }
      const size_t start = 3 + random() % (ids.size() - 4);
      const size_t end = start + 1 + random() % (ids.size() - start - 1);
      ids[start] = 7;
      ids[end] = 8;
      Window window;
      window.example = i / per_example;
      window.index = i % per_example;
      window.ids = ids;
      window.document_begin = 3;
      window.start = static_cast<int32_t>(start);
      window.end = static_cast<int32_t>(end);
      windows_.push_back(window);
    }
  }

  std::span<const Window> all() const { return windows_; }

 private:
  std::vector<std::vector<int32_t>> ids_;
  std::vector<Window> windows_;
};

}  // namespace bertrand::test
