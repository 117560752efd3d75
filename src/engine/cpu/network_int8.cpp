#include <algorithm>
#include <span>
#include <vector>

#include "engine/cpu/network.h"
#include "engine/cpu/stored_parameters.h"

namespace bertrand::cpu {
namespace {

constexpr size_t kRows = kInt8Panel;  // that a thread rounds at once

/// The weight that holds a parameter, and which of its rows is the first of the parameter's: query,
/// key and value may be one weight.
struct Place {
  const Weight* weight;
  size_t first_row;
};

Place place_of(const Layout& layout, size_t parameter) {
  // Weights that are rounded lie in panels of one column, that is in rows.
  const size_t offset = layout.offsets[parameter];
  for (const LayerLayout& at : layout.layers) {
    for (const Weight* weight : at.weights()) {
      if (offset >= weight->offset && offset < weight->offset + weight->n * weight->k) {
        return {weight, (offset - weight->offset) / weight->k};
      }
    }
  }
  return {nullptr, 0};
}

}  // namespace

void Network::reserve_int8_weights() {
  int8_weights_.resize(layout_.weights_count);
  for (const LayerLayout& at : layout_.layers) {
    for (const Weight* weight : at.weights()) {
      int8_weights_[weight->number].reserve(weight->n, weight->k);
    }
  }
}

void Network::round_weights_to_int8() {
  reserve_int8_weights();
  struct Strip {
    const Weight* weight;
    size_t first_row;
  };
  std::vector<Strip> strips;
  for (const LayerLayout& at : layout_.layers) {
    for (const Weight* weight : at.weights()) {
      for (size_t row = 0; row < weight->n; row += kRows) {
        strips.push_back({weight, row});
      }
    }
  }
  pool_.for_each(strips.size(), [&](size_t index, unsigned) {
    const auto& [weight, first_row] = strips[index];
    for (size_t row = first_row; row < std::min(first_row + kRows, weight->n); ++row) {
      int8_weights_[weight->number].set_row(row, parameters_ + weight->offset + row * weight->k);
    }
  });
}

void Network::round_stored_weights(std::span<const StoredParameter> stored) {
  reserve_int8_weights();
  std::vector<Place> places;
  for (size_t index = 0; index < layout_.parameters.size(); ++index) {
    places.push_back(layout_.in_panels(index) ? place_of(layout_, index) : Place{nullptr, 0});
  }
  const auto strips = cut_into_strips(layout_.parameters, kRows);
  std::vector<std::vector<float>> buffers(pool_.size());
  pool_.for_each(strips.size(), [&](size_t number, unsigned worker) {
    const auto& [index, first_row, rows, columns] = strips[number];
    const auto& [weight, first] = places[index];
    if (weight == nullptr) {
      return;
    }
    Int8Weights& rounded = int8_weights_[weight->number];
    const StoredParameter& parameter = stored[index];
    if (parameter.int8.empty()) {
      std::vector<float>& values = buffers[worker];
      values.resize(rows * columns);
      parameter.read(first_row * columns, values);
      for (size_t row = 0; row < rows; ++row) {
        rounded.set_row(first + first_row + row, values.data() + row * columns);
      }
    } else {
      for (size_t row = first_row; row < first_row + rows; ++row) {
        rounded.set_row(first + row, parameter.int8.data() + row * columns, parameter.scales[row]);
      }
    }
  });
  rounded_weights_fresh_ = true;
}

}  // namespace bertrand::cpu
