#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>

#include "engine/dropout.h"
#include "engine/torch/batch.h"

namespace bertrand::plugin {

/// Sets the device's generator so that a pass draws the same numbers whatever was drawn before.
/// `window` is the key of its first one.
void seed_generator(const BertrandTorchDropout& dropout, uint64_t window,
                    const c10::Device& device);

/// Dropout of one pass. Either by masks of ours, the same as the native engine's, made on the CPU;
/// or by the device's own generator, which seed_generator() has set once for the pass.
class PassDropout {
 public:
  /// None at all.
  PassDropout() = default;
  PassDropout(const BertrandTorchDropout& dropout, bool example_masks);

  /// Hidden states [T, columns] with dropout.
  at::Tensor apply(const at::Tensor& x, const DeviceBatch& batch, int64_t layer,
                   DropoutSite site) const;

  /// Of attention probabilities: its probability where the device draws, else 0.
  double drawn_probability() const { return example_masks_ ? 0 : attention_; }

  /// Whether attention must multiply its probabilities by attention_mask().
  bool has_attention_masks() const { return example_masks_ && attention_ > 0; }

  /// [heads, length, length] of one window, on the device.
  at::Tensor attention_mask(const DeviceBatch& batch, int64_t window, int64_t layer, int64_t heads,
                            const c10::Device& device) const;

 private:
  DropoutKey key(int64_t layer, DropoutSite site, double probability) const;

  uint64_t seed_ = 0, step_ = 0;
  double hidden_ = 0, attention_ = 0;
  bool example_masks_ = false;
};

}  // namespace bertrand::plugin
