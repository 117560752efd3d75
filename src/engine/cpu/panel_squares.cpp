#include "engine/cpu/panel_squares.h"

#include <algorithm>
#include <numeric>

#include "engine/cpu/kernels.h"
#include "engine/cpu/packed.h"

namespace bertrand::cpu {
namespace {

constexpr size_t kRows = kMostBlockRows;

size_t blocks(size_t rows) { return (rows + kRows - 1) / kRows; }

}  // namespace

PanelSquares::PanelSquares(const Layout& layout)
    : layout_(layout), weights_(layout.weights_count), begins_(layout.parameters.size()) {
  size_t size = 0;
  for (const LayerLayout& layer : layout.layers) {
    for (const Weight* weight : layer.weights()) {
      weights_[weight->number] = {*weight, size};
      for (size_t index = 0; index < begins_.size(); ++index) {
        const size_t offset = layout.offsets[index];
        const size_t end = weight->offset + panels(*weight) * layout.panel_width * weight->k;
        if (layout.in_panels(index) && offset >= weight->offset && offset < end) {
          const size_t panel = (offset - weight->offset) / layout.panel_width / weight->k;
          begins_[index] = size + panel * blocks(weight->k);
        }
      }
      size += panels(*weight) * blocks(weight->k);
    }
  }
  squares_.resize(size);
}

size_t PanelSquares::panels(const Weight& weight) const {
  return (weight.n + layout_.panel_width - 1) / layout_.panel_width;
}

void PanelSquares::sum(const Weight& weight, size_t first_row, size_t rows, size_t first_panel,
                       size_t panels, const float* gradients) {
  const size_t width = layout_.panel_width;
  for (size_t panel = first_panel; panel < first_panel + panels; ++panel) {
    for (size_t row = first_row; row < first_row + rows; row += kRows) {
      const size_t block = panel * blocks(weight.k) + row / kRows;
      const float* begin = gradients + weight.offset + (panel * weight.k + row) * width;
      squares_[weights_[weight.number].begin + block] =
          sum_of_squares(std::min(kRows, weight.k - row) * width, begin);
    }
  }
}

void PanelSquares::need(const float* gradients, ThreadPool& pool) {
  if (known_) {
    return;
  }
  constexpr size_t kPanels = 8;  // for a thread at a time
  struct Task {
    const Weight* weight;
    size_t panel;
  };
  std::vector<Task> tasks;
  for (const Place& place : weights_) {
    for (size_t panel = 0; panel < panels(place.weight); panel += kPanels) {
      tasks.push_back({&place.weight, panel});
    }
  }
  pool.for_each(tasks.size(), [&](size_t index, unsigned) {
    const auto& [weight, panel] = tasks[index];
    sum(*weight, /*first_row=*/0, weight->k, panel, std::min(kPanels, panels(*weight) - panel),
        gradients);
  });
  known_ = true;
}

double PanelSquares::of_parameter(size_t index) const {
  const auto rows = static_cast<size_t>(layout_.parameters[index].shape[1]);
  const size_t panels = layout_.sizes[index] / layout_.panel_width / rows;
  const auto begin = squares_.begin() + static_cast<std::ptrdiff_t>(begins_[index]);
  return std::accumulate(begin, begin + static_cast<std::ptrdiff_t>(panels * blocks(rows)), 0.0);
}

}  // namespace bertrand::cpu
