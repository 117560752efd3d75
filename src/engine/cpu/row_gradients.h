#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/cpu/buffers.h"
#include "engine/cpu/panel_squares.h"

namespace bertrand::cpu {

/// The gradient of a table [rows, width] of which a step touches few rows: those rows alone, in
/// rising order, whatever the order they came in. The gradient of all others is 0.
class RowGradients {
 public:
  struct Row {
    size_t index;   ///< in the table
    float* values;  ///< [width]
  };

  explicit RowGradients(size_t width) : width_(width) {}

  size_t width() const { return width_; }
  std::span<const Row> rows() const { return rows_; }

  /// The rows of these indices, which rise and do not repeat, in their order. A row that was not
  /// touched since clear() begins as zeros. What earlier calls returned stays where it is.
  std::vector<float*> touch(std::span<const size_t> indices);

  /// The rows touched among [first, first + count).
  std::span<const Row> rows_of(size_t first, size_t count) const;

  /// No row is touched. Memory is kept.
  void clear();

  /// Writes the whole table, [rows, width].
  void store(std::span<float> table) const;

 private:
  size_t width_;
  std::vector<Row> rows_;
  std::vector<Aligned<float>> pieces_;  // what each call of touch() added
  size_t pieces_used_ = 0;
};

/// The gradients of all parameters, in their layout but for the word embeddings, whose place there
/// is never written to and so takes no memory.
struct ParameterGradients {
  explicit ParameterGradients(size_t hidden_size) : words(hidden_size) {}

  Aligned<float> dense;
  RowGradients words;
  std::optional<PanelSquares> squares;  ///< of what is dense and in panels; there as soon as it is
};

}  // namespace bertrand::cpu
