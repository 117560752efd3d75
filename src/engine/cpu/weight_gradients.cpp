#include <algorithm>
#include <utility>

#include "engine/cpu/bf16.h"
#include "engine/cpu/network.h"
#include "engine/cpu/packed.h"
#include "engine/cpu/products.h"
#include "engine/cpu/task_list.h"

namespace bertrand::cpu {

/// What the gradients of query, key and value are made of, known once attend_backward is done.
std::vector<Network::WeightSource> Network::qkv_sources(size_t index) {
  std::vector<WeightSource> sources;
  size_t column = 0;
  for (const Weight& weight : layout_.layers[index].qkv) {
    sources.push_back({&weight, &gradients_.qkv, column, &input(index)});
    column += weight.n;
  }
  return sources;
}

/// The same of all other weights, known once ffn_backward is.
std::vector<Network::WeightSource> Network::row_sources(size_t index) {
  const LayerLayout& at = layout_.layers[index];
  const Layer& state = layers_[index];
  return {{&at.output, &gradients_.attention, 0, &state.context},
          {&at.intermediate, &gradients_.intermediate, 0, &state.attended},
          {&at.ffn, &gradients_.ffn, 0, &state.activated}};
}

/// Tiles of about equal work. Each sums over all tokens in one product, so the result does not
/// depend on the threads.
void Network::weight_gradients(TaskList& tasks, std::span<const WeightSource> sources,
                               ParameterGradients& gradients, bool accumulate) {
  if (library_) {
    weight_gradients_of_library(tasks, sources, gradients.dense.data(), accumulate);
  } else {
    weight_gradients_in_panels(tasks, sources, gradients, accumulate);
  }
}

/// The squares of a tile are summed while it is in the cache.
void Network::weight_gradients_in_panels(TaskList& tasks, std::span<const WeightSource> sources,
                                         ParameterGradients& all_gradients, bool accumulate) {
  struct Tile {
    WeightSource source;
    size_t first_row, rows, first_panel, panels;
  };
  // Columns are enough to make up for packing the rows' share of the activations, and few enough
  // that every thread has several tiles.
  constexpr size_t kTilesAThread = 4;
  const GradientTile most = most_gradient_tile();
  const size_t area = hidden() * (4 * hidden() + 2 * wide()) / (pool_.size() * kTilesAThread);
  const size_t most_panels =
      std::clamp(area / most.rows, size_t{96}, most.columns) / layout_.panel_width;
  std::vector<Tile> tiles;
  for (const WeightSource& source : sources) {
    const Weight& weight = *source.weight;
    const size_t panels = (weight.n + layout_.panel_width - 1) / layout_.panel_width;
    for (size_t row = 0; row < weight.k; row += most.rows) {
      for (size_t panel = 0; panel < panels; panel += most_panels) {
        tiles.push_back({source, row, std::min(most.rows, weight.k - row), panel,
                         std::min(most_panels, panels - panel)});
      }
    }
  }
  const size_t count = tiles.size();
  tasks.add(count, [this, tiles = std::move(tiles), &all_gradients, accumulate](size_t task,
                                                                                unsigned worker) {
    const Tile& tile = tiles[task];
    const auto& [weight, dout, column, in] = tile.source;
    float* gradients = all_gradients.dense.data();
    if (bf16_) {
      multiply(Bf16GradientProduct{tokens_, weight->k, weight->n, in->bf16.row(0),
                                   in->bf16.stride(), dout->bf16.row(0) + column,
                                   dout->bf16.stride(), gradients + weight->offset, tile.first_row,
                                   tile.rows, tile.first_panel, tile.panels, accumulate},
               scratch_[worker].bf16_product.data());
    } else {
      multiply(
          GradientProduct{tokens_, weight->k, weight->n, in->f32.row(0), in->f32.stride(),
                          dout->f32.row(0) + column, dout->f32.stride(), gradients + weight->offset,
                          tile.first_row, tile.rows, tile.first_panel, tile.panels, accumulate},
          scratch_[worker].product.data());
    }
    all_gradients.squares->sum(*weight, tile.first_row, tile.rows, tile.first_panel, tile.panels,
                               gradients);
  });
}

void Network::weight_gradients_of_library(TaskList& tasks, std::span<const WeightSource> sources,
                                          float* gradients, bool accumulate) {
  struct Tile {
    WeightSource source;
    size_t first, rows;
  };
  constexpr size_t kThreadsATile = 4;
  constexpr size_t kLeast = 32;
  const size_t pieces = (pool_.size() + kThreadsATile - 1) / kThreadsATile;
  std::vector<Tile> tiles;
  for (const WeightSource& source : sources) {
    const Weight& weight = *source.weight;
    const size_t rows = std::max(kLeast, hidden() * hidden() / weight.k / pieces);
    for (size_t first = 0; first < weight.n; first += rows) {
      tiles.push_back({source, first, std::min(rows, weight.n - first)});
    }
  }
  const size_t count = tiles.size();
  tasks.add(count, [this, tiles = std::move(tiles), gradients, accumulate](size_t task, unsigned) {
    const Tile& tile = tiles[task];
    const auto& [weight, dout, column, in] = tile.source;
    ProductShape shape{tile.rows, weight->k, tokens_};
    shape.transpose_a = true;
    shape.accumulate = accumulate;
    multiply(shape, MatrixBf16{dout->bf16.row(0) + column + tile.first, dout->bf16.stride()},
             MatrixBf16{in->bf16.row(0), in->bf16.stride()},
             gradients + weight->offset + tile.first * weight->k, weight->k);
  });
}

}  // namespace bertrand::cpu
