#include "engine/torch/optimizer.h"

#include <ATen/ATen.h>
#include <algorithm>
#include <c10/core/GradMode.h>
#include <cmath>
#include <torch/version.h>
#include <utility>

#include "engine/torch/kernels.h"

namespace bertrand::plugin {
namespace {

/// The norm of each tensor, brought here in one piece.
std::vector<double> norms_of(const Lists& lists, const std::vector<at::Tensor>& tensors) {
  const at::Tensor norms = at::stack(lists.norms(tensors)).to(at::kCPU, at::kFloat);
  const auto* values = norms.data_ptr<float>();
  return {values, values + norms.numel()};
}

double norm_of(const std::vector<double>& norms) {
  double sum = 0;
  for (const double norm : norms) {
    sum += norm * norm;
  }
  return std::sqrt(sum);
}

/// What each gradient is multiplied by.
std::vector<at::Scalar> factors(const BertrandTorchOptimizer& settings, double gradient_scale,
                                const std::vector<double>& norms, double norm) {
  const auto clip = [&](double of_norm) {
    return std::min(1.0, settings.max_gradient_norm / (of_norm + 1e-6)) / gradient_scale;
  };
  std::vector<at::Scalar> all;
  all.reserve(norms.size());
  for (const double mine : norms) {
    all.emplace_back(settings.clip == bertrand_torch_clip_none     ? 1 / gradient_scale
                     : settings.clip == bertrand_torch_clip_global ? clip(norm)
                                                                   : clip(mine));
  }
  return all;
}

/// LibTorch's one kernel of a whole step; for the CPU there is one only in later versions, and
/// torch_mlu has one from 1.25 on.
bool has_fused_adamw(const at::Tensor& parameter) {
  constexpr bool kOnCpu = TORCH_VERSION_MAJOR > 2 || TORCH_VERSION_MINOR >= 6;
  if (parameter.is_cpu() || parameter.is_cuda()) {
    return kOnCpu || parameter.is_cuda();
  }
  return has_kernel("aten::_fused_adamw_", "", c10::DispatchKey::PrivateUse1);
}

}  // namespace

Optimizer::Optimizer(std::vector<at::Tensor> parameters, std::vector<bool> decays)
    : lists_(parameters.front().device()),
      parameters_(std::move(parameters)),
      decays_(std::move(decays)) {
  for (const at::Tensor& parameter : parameters_) {
    first_.push_back(at::zeros_like(parameter).set_requires_grad(false));
    second_.push_back(at::zeros_like(parameter).set_requires_grad(false));
  }
}

std::vector<at::Tensor> Optimizer::those(const std::vector<at::Tensor>& all, bool decay) const {
  std::vector<at::Tensor> some;
  for (size_t i = 0; i < all.size(); ++i) {
    if (decays_[i] == decay) {
      some.push_back(all[i]);
    }
  }
  return some;
}

/// By one kernel for those that decay and one for the others.
void Optimizer::fused_step(double learning_rate, const BertrandTorchOptimizer& settings,
                           const std::vector<at::Tensor>& gradients) {
  const at::Tensor count = at::full({}, static_cast<double>(steps_), first_.front().options());
  for (const bool decay : {true, false}) {
    const std::vector<at::Tensor> mine = those(parameters_, decay);
    at::_fused_adamw_(mine, those(gradients, decay), those(first_, decay), those(second_, decay),
                      /*max_exp_avg_sqs=*/{}, std::vector<at::Tensor>(mine.size(), count),
                      learning_rate, settings.beta1, settings.beta2,
                      decay ? settings.weight_decay : 0, settings.epsilon, /*amsgrad=*/false,
                      /*maximize=*/false);
  }
}

/// By a kernel for each operation on all parameters.
void Optimizer::list_step(double learning_rate, const BertrandTorchOptimizer& settings,
                          const std::vector<at::Tensor>& gradients) {
  const auto count = static_cast<double>(steps_);
  const bool corrects = settings.bias_correction != 0;
  const double first_correction = corrects ? 1 - std::pow(settings.beta1, count) : 1;
  const double second_correction = corrects ? 1 - std::pow(settings.beta2, count) : 1;
  lists_.multiply(first_, settings.beta1);
  lists_.add(first_, gradients, 1 - settings.beta1);
  lists_.multiply(second_, settings.beta2);
  lists_.add_products(second_, gradients, gradients, 1 - settings.beta2);
  // The gradients' memory takes the divisors: sqrt(v) / sqrt(correction) + epsilon.
  const std::vector<at::Tensor>& divisors = gradients;
  lists_.copy(divisors, second_);
  lists_.square_root(divisors);
  lists_.multiply(divisors, 1 / std::sqrt(second_correction));
  lists_.add(divisors, settings.epsilon);
  lists_.multiply(those(parameters_, /*decay=*/true), 1 - learning_rate * settings.weight_decay);
  lists_.add_quotients(parameters_, first_, divisors, -learning_rate / first_correction);
}

double Optimizer::step(double learning_rate, const BertrandTorchOptimizer& settings,
                       double gradient_scale, std::vector<at::Tensor>& gradients) {
  const c10::AutoGradMode no_gradients(false);
  std::vector<double> norms = norms_of(lists_, gradients);
  for (double& norm : norms) {
    norm /= gradient_scale;
  }
  const double norm = norm_of(norms);
  if (!std::isfinite(norm)) {
    return norm;
  }
  ++steps_;
  lists_.multiply(gradients, factors(settings, gradient_scale, norms, norm));
  if (settings.bias_correction != 0 && has_fused_adamw(parameters_.front())) {
    fused_step(learning_rate, settings, gradients);
  } else {
    list_step(learning_rate, settings, gradients);
  }
  return norm;
}

}  // namespace bertrand::plugin
