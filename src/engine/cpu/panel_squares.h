#pragma once

#include <cstddef>
#include <vector>

#include "base/thread_pool.h"
#include "engine/cpu/layout.h"

namespace bertrand::cpu {

/// Sums of squares, in f64, of the gradients that lie in panels. They are taken a block of
/// kMostBlockRows rows of one panel at a time and added up in one order, so that it makes no
/// difference which thread takes them, nor whether as soon as a block is finished or later.
class PanelSquares {
 public:
  explicit PanelSquares(const Layout& layout);

  /// Of whole blocks of `gradients`: `rows` rows from `first_row` on, in some panels of a weight.
  void sum(const Weight& weight, size_t first_row, size_t rows, size_t first_panel, size_t panels,
           const float* gradients);

  /// Sums all blocks, unless they are known.
  void need(const float* gradients, ThreadPool& pool);

  /// Of a parameter in panels, once all blocks are known.
  double of_parameter(size_t index) const;

  void set_known(bool known) { known_ = known; }

 private:
  struct Place {
    Weight weight;
    size_t begin = 0;  ///< of its blocks
  };

  size_t panels(const Weight& weight) const;

  const Layout& layout_;
  std::vector<Place> weights_;   ///< by their number
  std::vector<size_t> begins_;   ///< of the blocks of each parameter that is in panels
  std::vector<double> squares_;  ///< of the blocks of a panel, of the panels of a weight
  bool known_ = false;
};

}  // namespace bertrand::cpu
