#include "engine/cpu/stored_parameters.h"

#include <algorithm>

namespace bertrand::cpu {
namespace {

/// Whole panels, enough that sharing out costs nothing.
size_t rows_of_a_strip(size_t panel_width) {
  constexpr size_t kFew = 32;
  return (kFew + panel_width - 1) / panel_width * panel_width;
}

}  // namespace

std::vector<ParameterStrip> cut_into_strips(const std::vector<ParameterInfo>& parameters,
                                            size_t rows) {
  std::vector<ParameterStrip> strips;
  for (size_t index = 0; index < parameters.size(); ++index) {
    const auto& shape = parameters[index].shape;
    const bool is_matrix = shape.size() == 2;
    const auto all = is_matrix ? static_cast<size_t>(shape[0]) : size_t{1};
    const auto columns = static_cast<size_t>(shape.back());
    for (size_t row = 0; row < all; row += rows) {
      strips.push_back({index, row, std::min(rows, all - row), columns});
    }
  }
  return strips;
}

void StoredParameters::open(const ParameterStore& stored, bool with_weights, float* array) {
  close();
  for (const ParameterInfo& info : layout_.parameters) {
    parameters_.push_back(stored(info));
  }
  has_word_.assign(static_cast<size_t>(layout_.parameters[Layout::kWords].shape[0]), 0);
  const auto strips = cut_into_strips(layout_.parameters, rows_of_a_strip(layout_.panel_width));
  std::vector<std::vector<float>> buffers(pool_.size());
  pool_.for_each(strips.size(), [&](size_t number, unsigned worker) {
    const auto& [index, first_row, rows, columns] = strips[number];
    const size_t first = first_row * columns;
    const bool in_panels = layout_.in_panels(index);
    if (index == Layout::kWords || (in_panels && !with_weights)) {
      return;
    }
    if (in_panels && layout_.panel_width > 1) {
      buffers[worker].resize(rows * columns);
      parameters_[index].read(first, buffers[worker]);
      layout_.load_rows(index, first_row, buffers[worker], array);
    } else {
      parameters_[index].read(first, {array + layout_.offsets[index] + first, rows * columns});
    }
  });
}

void StoredParameters::close() {
  parameters_.clear();
  has_word_.clear();
}

void StoredParameters::need_words(std::span<const int32_t> ids, float* array) {
  if (!is_open()) {
    return;
  }
  const size_t columns = layout_.word_width();
  for (const int32_t id : ids) {
    const auto row = static_cast<size_t>(id);
    if (id >= 0 && row < has_word_.size() && has_word_[row] == 0) {
      float* place = array + layout_.word_embeddings + row * columns;
      parameters_[Layout::kWords].read(row * columns, {place, columns});
      has_word_[row] = 1;
    }
  }
}

void StoredParameters::take_over(float* array) {
  if (!is_open()) {
    return;
  }
  const auto size = static_cast<size_t>(layout_.parameters[Layout::kWords].size());
  parameters_[Layout::kWords].read(/*first=*/0, {array + layout_.word_embeddings, size});
  close();
}

}  // namespace bertrand::cpu
