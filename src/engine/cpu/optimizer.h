#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "engine/cpu/buffers.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/layout.h"
#include "engine/cpu/row_gradients.h"
#include "engine/engine.h"

namespace bertrand::cpu {

/// Adam over all parameters: norms of the gradients, clipping, the step, gradients back to zero but
/// for those in panels, which the next backward overwrites.
/// AdamW (Loshchilov, Hutter, arXiv:1711.05101) as in PyTorch; BertAdam as in Google's BERT: no
/// bias correction, epsilon beside the root, decay inside the update.
class Optimizer {
 public:
  Optimizer(const Layout& layout, ThreadPool& pool);

  StepReport step(double learning_rate, const OptimizerSettings& settings, float* parameters,
                  ParameterGradients& gradients);

  uint64_t steps() const { return steps_; }
  void set_steps(uint64_t steps) { steps_ = steps; }
  float* moments(Moment moment) { return (moment == Moment::first ? m_ : v_).data(); }

 private:
  /// A part of one parameter, whole rows of the word embeddings; threads take parts.
  struct Piece {
    size_t parameter, begin, count;
  };

  bool is_words(const Piece& piece) const;
  std::span<const RowGradients::Row> rows_of(const Piece& piece, const RowGradients& words) const;
  /// 0 of what is in panels.
  double squares(const Piece& piece, const ParameterGradients& gradients) const;
  std::vector<double> squared_norms(ParameterGradients& gradients);
  void move(const Piece& piece, const AdamStep& how, const float* gradient, float* parameters);
  void move_words(const Piece& piece, const AdamStep& how, const RowGradients& words,
                  float* parameters);
  void clear(const Piece& piece, float* gradients) const;

  const Layout& layout_;
  ThreadPool& pool_;
  std::vector<Piece> pieces_;
  Aligned<float> m_, v_;
  uint64_t steps_ = 0;
};

}  // namespace bertrand::cpu
