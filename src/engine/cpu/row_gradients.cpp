#include "engine/cpu/row_gradients.h"

#include <algorithm>

namespace bertrand::cpu {
namespace {

bool is_before(const RowGradients::Row& row, size_t index) { return row.index < index; }

}  // namespace

std::vector<float*> RowGradients::touch(std::span<const size_t> indices) {
  std::vector<size_t> fresh;
  auto known = rows_.begin();
  for (const size_t index : indices) {
    known = std::lower_bound(known, rows_.end(), index, is_before);
    if (known == rows_.end() || known->index != index) {
      fresh.push_back(index);
    }
  }
  if (pieces_used_ == pieces_.size()) {
    pieces_.emplace_back();
  }
  Aligned<float>& piece = pieces_[pieces_used_++];
  piece.reserve(fresh.size() * width_);
  std::fill_n(piece.data(), fresh.size() * width_, 0.0F);
  const auto old = static_cast<std::ptrdiff_t>(rows_.size());
  for (size_t i = 0; i < fresh.size(); ++i) {
    rows_.push_back({fresh[i], piece.data() + i * width_});
  }
  std::inplace_merge(rows_.begin(), rows_.begin() + old, rows_.end(),
                     [](const Row& a, const Row& b) { return a.index < b.index; });
  std::vector<float*> values;
  values.reserve(indices.size());
  known = rows_.begin();
  for (const size_t index : indices) {
    known = std::lower_bound(known, rows_.end(), index, is_before);
    values.push_back(known->values);
  }
  return values;
}

std::span<const RowGradients::Row> RowGradients::rows_of(size_t first, size_t count) const {
  const auto begin = std::lower_bound(rows_.begin(), rows_.end(), first, is_before);
  return {begin, std::lower_bound(begin, rows_.end(), first + count, is_before)};
}

void RowGradients::clear() {
  rows_.clear();
  pieces_used_ = 0;
}

void RowGradients::store(std::span<float> table) const {
  std::fill(table.begin(), table.end(), 0.0F);
  for (const Row& row : rows_) {
    std::copy_n(row.values, width_, table.data() + row.index * width_);
  }
}

}  // namespace bertrand::cpu
