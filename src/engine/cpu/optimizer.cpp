#include "engine/cpu/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/cpu/kernels.h"

namespace bertrand::cpu {

Optimizer::Optimizer(const Layout& layout, ThreadPool& pool) : layout_(layout), pool_(pool) {
  constexpr size_t kPiece = 1 << 16;
  for (size_t parameter = 0; parameter < layout.parameters.size(); ++parameter) {
    const size_t size = layout.sizes[parameter];
    for (size_t begin = 0; begin < size; begin += kPiece) {
      pieces_.push_back(
          {parameter, layout.offsets[parameter] + begin, std::min(kPiece, size - begin)});
    }
  }
  m_.reserve_zeroed(layout.size);
  v_.reserve_zeroed(layout.size);
}

/// The squared norm of each parameter's gradient; pieces are summed in order, whoever made them.
std::vector<double> Optimizer::squared_norms(const float* gradients) {
  std::vector<double> of_pieces(pieces_.size());
  pool_.for_each(pieces_.size(), [&](size_t index, unsigned) {
    of_pieces[index] = sum_of_squares(pieces_[index].count, gradients + pieces_[index].begin);
  });
  std::vector<double> of_parameters(layout_.parameters.size());
  for (size_t index = 0; index < pieces_.size(); ++index) {
    of_parameters[pieces_[index].parameter] += of_pieces[index];
  }
  return of_parameters;
}

/// Back to zero, but for what the next backward overwrites.
void Optimizer::clear(const Piece& piece, float* gradients) const {
  if (!layout_.in_panels(piece.parameter)) {
    std::fill_n(gradients + piece.begin, piece.count, 0.0F);
  }
}

StepReport Optimizer::step(double learning_rate, const OptimizerSettings& settings,
                           float* parameters, float* gradients) {
  const std::vector<double> squares = squared_norms(gradients);
  const double norm = std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));
  if (!std::isfinite(norm)) {
    pool_.for_each(pieces_.size(),
                   [&](size_t index, unsigned) { clear(pieces_[index], gradients); });
    return {norm};
  }
  ++steps_;
  const auto clip = [&](double of_norm) {
    return std::min(1.0, settings.max_gradient_norm / (of_norm + 1e-6));
  };
  const auto count = static_cast<double>(steps_);
  const bool corrects = settings.kind == OptimizerKind::adamw;
  const double m_correction = corrects ? 1 - std::pow(settings.beta1, count) : 1;
  const double v_correction = corrects ? 1 - std::pow(settings.beta2, count) : 1;
  AdamStep shared{};
  shared.beta1 = static_cast<float>(settings.beta1);
  shared.beta2 = static_cast<float>(settings.beta2);
  shared.epsilon = static_cast<float>(settings.epsilon);
  shared.step_size = static_cast<float>(learning_rate / m_correction);
  shared.v_scale = static_cast<float>(1 / std::sqrt(v_correction));
  pool_.for_each(pieces_.size(), [&](size_t index, unsigned) {
    const Piece& piece = pieces_[index];
    AdamStep mine = shared;
    switch (settings.clip) {
      case GradientClip::none:
        mine.gradient_scale = 1;
        break;
      case GradientClip::global:
        mine.gradient_scale = static_cast<float>(clip(norm));
        break;
      case GradientClip::per_parameter:
        mine.gradient_scale = static_cast<float>(clip(std::sqrt(squares[piece.parameter])));
        break;
    }
    const bool decays = layout_.parameters[piece.parameter].decays;
    mine.decay = static_cast<float>(decays ? learning_rate * settings.weight_decay : 0.0);
    adam(piece.count, mine, gradients + piece.begin, m_.data() + piece.begin,
         v_.data() + piece.begin, parameters + piece.begin);
    clear(piece, gradients);
  });
  return {norm};
}

}  // namespace bertrand::cpu
