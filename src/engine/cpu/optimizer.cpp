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
    const size_t row = layout.word_width();
    const size_t most =
        parameter == Layout::kWords ? std::max(kPiece / row, size_t{1}) * row : kPiece;
    for (size_t begin = 0; begin < size; begin += most) {
      pieces_.push_back(
          {parameter, layout.offsets[parameter] + begin, std::min(most, size - begin)});
    }
  }
  m_.reserve_zeroed(layout.size);
  v_.reserve_zeroed(layout.size);
}

bool Optimizer::is_words(const Piece& piece) const { return piece.parameter == Layout::kWords; }

std::span<const RowGradients::Row> Optimizer::rows_of(const Piece& piece,
                                                      const RowGradients& words) const {
  return words.rows_of((piece.begin - layout_.word_embeddings) / words.width(),
                       piece.count / words.width());
}

double Optimizer::squares(const Piece& piece, const ParameterGradients& gradients) const {
  if (layout_.in_panels(piece.parameter)) {
    return 0;
  }
  if (!is_words(piece)) {
    return sum_of_squares(piece.count, gradients.dense.data() + piece.begin);
  }
  double sum = 0;
  for (const RowGradients::Row& row : rows_of(piece, gradients.words)) {
    sum += sum_of_squares(gradients.words.width(), row.values);
  }
  return sum;
}

/// The squared norm of each parameter's gradient; pieces are summed in order, whoever made them.
/// Those in panels are known from when they were made, or summed now.
std::vector<double> Optimizer::squared_norms(ParameterGradients& gradients) {
  gradients.squares->need(gradients.dense.data(), pool_);
  std::vector<double> of_pieces(pieces_.size());
  pool_.for_each(pieces_.size(), [&](size_t index, unsigned) {
    of_pieces[index] = squares(pieces_[index], gradients);
  });
  std::vector<double> of_parameters(layout_.parameters.size());
  for (size_t index = 0; index < pieces_.size(); ++index) {
    of_parameters[pieces_[index].parameter] += of_pieces[index];
  }
  for (size_t index = 0; index < of_parameters.size(); ++index) {
    if (layout_.in_panels(index)) {
      of_parameters[index] = gradients.squares->of_parameter(index);
    }
  }
  return of_parameters;
}

void Optimizer::move(const Piece& piece, const AdamStep& how, const float* gradient,
                     float* parameters) {
  adam(piece.count, how, gradient, m_.data() + piece.begin, v_.data() + piece.begin,
       parameters + piece.begin);
}

/// Every row moves: one not touched has moments, and decays.
void Optimizer::move_words(const Piece& piece, const AdamStep& how, const RowGradients& words,
                           float* parameters) {
  size_t next = piece.begin;
  const auto move_until = [&](size_t end, const float* gradient) {
    move({piece.parameter, next, end - next}, how, gradient, parameters);
    next = end;
  };
  for (const RowGradients::Row& row : rows_of(piece, words)) {
    const size_t begin = layout_.word_embeddings + row.index * words.width();
    move_until(begin, /*gradient=*/nullptr);
    move_until(begin + words.width(), row.values);
  }
  move_until(piece.begin + piece.count, /*gradient=*/nullptr);
}

/// Back to zero, but for what the next backward overwrites and the words, which are cleared at
/// once.
void Optimizer::clear(const Piece& piece, float* gradients) const {
  if (!layout_.in_panels(piece.parameter) && !is_words(piece)) {
    std::fill_n(gradients + piece.begin, piece.count, 0.0F);
  }
}

StepReport Optimizer::step(double learning_rate, const OptimizerSettings& settings,
                           float* parameters, ParameterGradients& gradients) {
  const std::vector<double> norms = squared_norms(gradients);
  gradients.squares->set_known(false);
  const double norm = std::sqrt(std::accumulate(norms.begin(), norms.end(), 0.0));
  if (!std::isfinite(norm)) {
    pool_.for_each(pieces_.size(),
                   [&](size_t index, unsigned) { clear(pieces_[index], gradients.dense.data()); });
    gradients.words.clear();
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
        mine.gradient_scale = static_cast<float>(clip(std::sqrt(norms[piece.parameter])));
        break;
    }
    const bool decays = layout_.parameters[piece.parameter].decays;
    mine.decay = static_cast<float>(decays ? learning_rate * settings.weight_decay : 0.0);
    if (is_words(piece)) {
      move_words(piece, mine, gradients.words, parameters);
    } else {
      move(piece, mine, gradients.dense.data() + piece.begin, parameters);
      clear(piece, gradients.dense.data());
    }
  });
  gradients.words.clear();
  return {norm};
}

}  // namespace bertrand::cpu
