#include "engine/torch/engine.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <algorithm>
#include <c10/core/DeviceGuard.h>
#include <c10/core/GradMode.h>
#include <cmath>
#include <iostream>
#include <torch/csrc/autograd/autograd.h>
#include <torch/version.h>
#include <utility>

#include "engine/torch/device.h"
#include "engine/torch/failure.h"
#include "engine/torch/group.h"

namespace bertrand::plugin {
namespace {

// As PyTorch scales losses for fp16.
constexpr uint64_t kStepsToGrow = 2000;
constexpr double kGrowth = 2, kBackoff = 0.5;
constexpr double kLeastScale = 1;

// Tokens a pass of a fixed shape has at most: those that predict computes at once, and a batch.
constexpr size_t kMostAnswered = 4096;
constexpr size_t kMostInStep = 16384;

/// Earlier versions lack products of halves on the CPU.
constexpr bool kCpuHasHalf = TORCH_VERSION_MAJOR > 2 || TORCH_VERSION_MINOR >= 6;

at::ScalarType type_of(int32_t precision) {
  switch (precision) {
    case bertrand_torch_fp32:
    case bertrand_torch_tf32:
      return at::kFloat;
    case bertrand_torch_bf16:
      return at::kBFloat16;
    case bertrand_torch_fp16:
      return at::kHalf;
    default:
      throw Failure(bertrand_torch_usage,
                    "This libbertrand_torch.so does not know the precision; "
                    "give --precision fp32, bf16 or fp16.");
  }
}

void check_precision(int32_t precision, const c10::Device& device) {
  if (precision == bertrand_torch_tf32 && !device.is_cuda()) {
    throw Failure(bertrand_torch_usage, "--precision tf32 is for CUDA; give fp32 or bf16.");
  }
  if (precision == bertrand_torch_fp16 && device.is_cpu() && !kCpuHasHalf) {
    throw Failure(bertrand_torch_usage, "LibTorch " TORCH_VERSION
                                        " does not compute --precision fp16 on the CPU; give fp32 "
                                        "or bf16.");
  }
}

void check_shape(const BertrandTorchParameter& wanted, const at::Tensor& value) {
  const at::IntArrayRef shape(wanted.shape, wanted.dimensions);
  if (value.sizes() != shape) {
    throw Failure(bertrand_torch_failed,
                  std::string("libbertrand_torch.so has another shape for ") + wanted.name +
                      " than the program; build both from one source.");
  }
}

void to_host(const at::Tensor& scores, float* values) {
  const at::Tensor host = scores.to(at::kCPU, at::kFloat).contiguous();
  std::copy_n(host.data_ptr<float>(), host.numel(), values);
}

}  // namespace

TorchEngine::TorchEngine(const BertrandTorchConfig& config, const BertrandTorchOptions& options,
                         const BertrandTorchParameter* parameters, size_t count)
    : device_(find_device(options.device, options.library)),
      products_(type_of(options.precision)),
      tf32_(options.precision == bertrand_torch_tf32),
      example_masks_(options.example_masks != 0),
      head_size_(config.hidden_size / config.heads),
      scales_(options.precision == bertrand_torch_fp16) {
  check_precision(options.precision, device_);
  if (device_.is_cpu() && options.threads > 0) {
    at::set_num_threads(static_cast<int>(options.threads));
  }
  const c10::DeviceGuard guard(device_);
  model_ = std::make_shared<Model>(config, device_);
  make_fixed_passes();
  const auto named = model_->named_parameters();
  for (size_t i = 0; i < count; ++i) {
    const at::Tensor* value = named.find(parameters[i].name);
    if (value == nullptr) {
      throw Failure(bertrand_torch_failed, std::string("libbertrand_torch.so does not know ") +
                                               parameters[i].name +
                                               "; build it and the program from one source.");
    }
    check_shape(parameters[i], *value);
    parameters_.push_back({parameters[i].name, parameters[i].decays != 0, *value});
  }
}

Optimizer& TorchEngine::optimizer() {
  if (!optimizer_) {
    const c10::AutoGradMode no_gradients(false);
    std::vector<bool> decays;
    decays.reserve(parameters_.size());
    for (const Parameter& parameter : parameters_) {
      decays.push_back(parameter.decays);
    }
    optimizer_.emplace(tensors(bertrand_torch_weights), std::move(decays));
  }
  return *optimizer_;
}

/// Those there are; an undefined one is zero.
std::vector<at::Tensor> TorchEngine::tensors(BertrandTorchKind kind) const {
  std::vector<at::Tensor> all;
  all.reserve(parameters_.size());
  for (size_t i = 0; i < parameters_.size(); ++i) {
    switch (kind) {
      case bertrand_torch_weights:
        all.push_back(parameters_[i].value);
        break;
      case bertrand_torch_gradients:
        all.push_back(parameters_[i].value.grad());
        break;
      case bertrand_torch_first_moments:
        all.push_back(optimizer_ ? optimizer_->first_moments()[i] : at::Tensor());
        break;
      case bertrand_torch_second_moments:
        all.push_back(optimizer_ ? optimizer_->second_moments()[i] : at::Tensor());
        break;
    }
  }
  return all;
}

/// One for each parameter, made where there is none yet.
std::vector<at::Tensor> TorchEngine::gradients() const {
  std::vector<at::Tensor> all;
  all.reserve(parameters_.size());
  for (const Parameter& parameter : parameters_) {
    if (!parameter.value.grad().defined()) {
      parameter.value.mutable_grad() = at::zeros_like(parameter.value).set_requires_grad(false);
    }
    all.push_back(parameter.value.grad());
  }
  return all;
}

void TorchEngine::load(BertrandTorchKind kind, BertrandTorchRead read, void* context) {
  const c10::AutoGradMode no_gradients(false);
  weights_changed_ = weights_changed_ || kind == bertrand_torch_weights;
  if (kind == bertrand_torch_first_moments || kind == bertrand_torch_second_moments) {
    optimizer();
  }
  const std::vector<at::Tensor> into =
      kind == bertrand_torch_gradients ? gradients() : tensors(kind);
  for (size_t i = 0; i < into.size(); ++i) {
    at::Tensor values = at::empty(into[i].sizes(), at::kFloat);
    if (read(context, i, values.data_ptr<float>(), static_cast<size_t>(values.numel())) != 0) {
      throw Stopped();
    }
    if (kind == bertrand_torch_gradients && scales_) {
      values.mul_(loss_scale_);
    }
    into[i].copy_(values);
  }
}

void TorchEngine::store(BertrandTorchKind kind, BertrandTorchWrite write, void* context) const {
  const c10::AutoGradMode no_gradients(false);
  const std::vector<at::Tensor> from = tensors(kind);
  for (size_t i = 0; i < from.size(); ++i) {
    at::Tensor values = from[i].defined() ? from[i].to(at::kCPU, at::kFloat).contiguous()
                                          : at::zeros(parameters_[i].value.sizes(), at::kFloat);
    if (kind == bertrand_torch_gradients && scales_) {
      values = values / loss_scale_;
    }
    if (write(context, i, values.data_ptr<float>(), static_cast<size_t>(values.numel())) != 0) {
      throw Stopped();
    }
  }
}

BertrandTorchScaling TorchEngine::scaling() const {
  return {sizeof(BertrandTorchScaling), scales_ ? loss_scale_ : 0, good_steps_};
}

void TorchEngine::set_scaling(const BertrandTorchScaling& scaling) {
  if (scaling.scale > 0) {
    loss_scale_ = scaling.scale;
    good_steps_ = scaling.good_steps;
  }
}

/// Without masks of ours, whatever is fastest.
Pass TorchEngine::pass(bool plain_attention) const {
  Pass result;
  result.products = products_;
  const PackedAttention packed = packed_attention(device_);
  constexpr int64_t kFlashStep = 8, kFlashMost = 256;
  const bool fits = head_size_ % kFlashStep == 0 && head_size_ <= kFlashMost;
  if (!plain_attention) {
    if (packed.of_16_bits && products_ != at::kFloat && fits) {
      result.attention = AttentionKind::packed;
    } else {
      result.attention = has_fused_attention(device_)     ? AttentionKind::padded
                         : tells_fused_attention(device_) ? AttentionKind::padded_asked
                                                          : AttentionKind::padded_plain;
    }
  }
  if (device_.is_cuda()) {
    set_tf32(tf32_);
  }
  return result;
}

/// Before each pass without gradients.
void TorchEngine::refresh_rounded_weights() {
  if (weights_changed_ && products_ != at::kFloat) {
    model_->round_weights(products_);
  }
  weights_changed_ = false;
}

void TorchEngine::make_fixed_passes() {
  const FixedShapesWanted wanted(device_);
  if (wanted.answers) {
    answers_.emplace(
        device_, [](const FixedShape& shape) { return 2 * shape.tokens; },
        [this](const FixedShape& shape, const FixedPasses::Tensors& fixed) {
          const Scores scores =
              model_->forward(arrange(fixed.values, shape), pass(/*plain_attention=*/false));
          at::Tensor results = fixed.results;
          at::cat_out(results, std::vector<at::Tensor>{scores.start, scores.end});
        });
  }
  // Masks of ours are made on the host.
  if (wanted.steps && !example_masks_) {
    steps_.emplace(
        device_, [](const FixedShape&) -> int64_t { return 1; },
        [this](const FixedShape& shape, const FixedPasses::Tensors& fixed) {
          add_gradients(shape, fixed);
        });
  }
}

/// What passes of fixed shapes come to, if they are used and the batch is one for them. A device
/// that cannot record says so once, and computes batches as they come from then on.
std::optional<at::Tensor> TorchEngine::run_fixed(std::optional<FixedPasses>& passes, size_t most,
                                                 const BertrandTorchBatch& batch, double factor) {
  if (!passes || batch.tokens > most) {
    return std::nullopt;
  }
  try {
    return passes->run(batch, factor);
  } catch (const CannotRecord& error) {
    std::cerr << "Passes cannot be recorded on the device (" << error.what()
              << "); they are launched piece by piece.\n";
    passes.reset();
    return std::nullopt;
  }
}

void TorchEngine::forward(const BertrandTorchBatch& batch, float* start, float* end) {
  const c10::DeviceGuard guard(device_);
  const c10::AutoGradMode no_gradients(false);
  refresh_rounded_weights();
  if (const auto fixed = run_fixed(answers_, kMostAnswered, batch, /*factor=*/1)) {
    const auto* scores = fixed->data_ptr<float>();
    std::copy_n(scores, batch.tokens, start);
    std::copy_n(scores + fixed->numel() / 2, batch.tokens, end);
    return;
  }
  const Scores scores = model_->forward(to_device(batch, device_), pass(/*plain_attention=*/false));
  const at::Tensor host = at::stack({scores.start, scores.end}).to(at::kCPU, at::kFloat);
  to_host(host[0], start);
  to_host(host[1], end);
}

void TorchEngine::hidden_states(const BertrandTorchBatch& batch, float* states) {
  const c10::DeviceGuard guard(device_);
  const c10::AutoGradMode no_gradients(false);
  refresh_rounded_weights();
  std::vector<at::Tensor> kept;
  model_->forward(to_device(batch, device_), pass(/*plain_attention=*/false), &kept);
  for (const at::Tensor& one : kept) {
    to_host(one, states);
    states += one.numel();
  }
}

/// What a step of a fixed shape is: the gradients are added to those there are, by hand, since
/// LibTorch's own adding may choose another stream.
void TorchEngine::add_gradients(const FixedShape& shape, const FixedPasses::Tensors& fixed) {
  const DeviceBatch batch = arrange(fixed.values, shape);
  Pass how = pass(/*plain_attention=*/false);
  how.dropout = PassDropout(step_dropout_, /*example_masks=*/false);
  std::vector<at::Tensor> added;
  {
    const c10::AutoGradMode with_gradients(true);
    const at::Tensor loss = span_loss(model_->forward(batch, how), batch);
    fixed.results.copy_(loss.detach().view({1}));
    added = torch::autograd::grad({loss * fixed.factor}, tensors(bertrand_torch_weights));
  }
  const c10::AutoGradMode no_gradients(false);
  std::vector<at::Tensor> sums = gradients();
  at::_foreach_add_(sums, added);
}

double TorchEngine::backward(const BertrandTorchBatch& batch, const BertrandTorchDropout& dropout,
                             double weight) {
  const c10::DeviceGuard guard(device_);
  const c10::AutoGradMode with_gradients(true);
  optimizer();  // its memory, before the first step's
  const double factor = scales_ ? weight * loss_scale_ : weight;
  if (dropout.hidden != step_dropout_.hidden || dropout.attention != step_dropout_.attention) {
    step_dropout_ = dropout;
    if (steps_) {
      steps_->forget();
    }
  }
  if (steps_) {
    gradients();  // so that they stay where they are
  }
  if (!example_masks_ && (dropout.hidden > 0 || dropout.attention > 0)) {
    seed_generator(dropout, batch.keys[0], device_);
  }
  if (const auto fixed = run_fixed(steps_, kMostInStep, batch, factor)) {
    return fixed->item<double>();
  }
  const DeviceBatch on_device = to_device(batch, device_);
  Pass how = pass(/*plain_attention=*/example_masks_);
  how.dropout = PassDropout(dropout, example_masks_);
  const at::Tensor loss = span_loss(model_->forward(on_device, how), on_device);
  (loss * factor).backward();
  return loss.item<double>();
}

BertrandTorchReport TorchEngine::step(double learning_rate,
                                      const BertrandTorchOptimizer& settings) {
  const c10::DeviceGuard guard(device_);
  weights_changed_ = true;
  std::vector<at::Tensor> with = gradients();
  BertrandTorchReport report{sizeof(BertrandTorchReport), 0, /*repeat=*/0};
  report.gradient_norm = optimizer().step(learning_rate, settings, scales_ ? loss_scale_ : 1, with);
  Lists(device_).zero(with);
  if (!scales_) {
    return report;
  }
  if (std::isfinite(report.gradient_norm)) {
    if (++good_steps_ >= kStepsToGrow) {
      loss_scale_ *= kGrowth;
      good_steps_ = 0;
    }
  } else if (loss_scale_ > kLeastScale) {
    loss_scale_ *= kBackoff;
    good_steps_ = 0;
    report.repeat = 1;
  }
  return report;
}

void TorchEngine::reduce_gradients(Group& group) {
  const c10::DeviceGuard guard(device_);
  const c10::AutoGradMode no_gradients(false);
  group.sum_in_buckets(gradients());
}

}  // namespace bertrand::plugin
