#include "engine/torch/fixed_passes.h"

#include <ATen/ATen.h>
#include <cstdlib>
#include <string>
#include <utility>

#include "engine/torch/failure.h"

namespace bertrand::plugin {
namespace {

/// Kept at once; SQuAD's windows need some twenty.
constexpr size_t kMostPasses = 48;

}  // namespace

FixedPasses::FixedPasses(const c10::Device& device, Count results, Work work)
    : device_(device),
      results_(results),
      work_(std::move(work)),
      recorder_(make_recorder(device)) {}

void FixedPasses::forget() {
  passes_.clear();
  recorder_->begin_anew();
}

FixedPasses::Pass& FixedPasses::pass_of(const FixedShape& shape) {
  const auto found = passes_.find(shape);
  if (found != passes_.end()) {
    return found->second;
  }
  if (passes_.size() == kMostPasses) {
    forget();
  }
  const auto empty = [&](int64_t count, at::ScalarType type) {
    return at::empty({count}, at::TensorOptions(type).device(device_));
  };
  Pass& pass = passes_[shape];
  pass.tensors = {empty(shape.values(), at::kLong), empty(1, at::kFloat),
                  empty(results_(shape), at::kFloat)};
  return pass;
}

void FixedPasses::compute(const FixedShape& shape, Pass& pass) {
  if (!pass.computed) {
    work_(shape, pass.tensors);
    pass.computed = true;
    return;
  }
  if (pass.recording == nullptr) {
    pass.recording = recorder_->record([this, shape, &pass] { work_(shape, pass.tensors); });
  }
  pass.recording->replay();
}

std::optional<at::Tensor> FixedPasses::run(const BertrandTorchBatch& batch, double factor) {
  const FixedShape shape = FixedShape::of(batch);
  if (!shape.is_dense()) {
    return std::nullopt;
  }
  std::vector<int64_t> values(static_cast<size_t>(shape.values()));
  fill(batch, shape, values);
  at::Tensor results;
  recorder_->run([&] {
    Pass& pass = pass_of(shape);
    pass.tensors.values.copy_(at::from_blob(values.data(), {shape.values()}, at::kLong),
                              /*non_blocking=*/true);
    pass.tensors.factor.fill_(factor);
    compute(shape, pass);
    results = pass.tensors.results.to(at::kCPU);
  });
  return results;
}

FixedShapesWanted::FixedShapesWanted(const c10::Device& device)
    : answers(device.is_cuda()), steps(false) {
  const char* set = std::getenv("BERTRAND_FIXED_SHAPES");
  const std::string value = set != nullptr ? set : "";
  if (value == "0" || value == "1") {
    // Other devices have nothing to record with.
    answers = steps = value == "1" && (device.is_cpu() || device.is_cuda());
  } else if (!value.empty()) {
    throw Failure(bertrand_torch_usage,
                  "BERTRAND_FIXED_SHAPES is \"" + value + "\"; set it to 0 or 1, or leave it out.");
  }
}

}  // namespace bertrand::plugin
