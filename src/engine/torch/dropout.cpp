#include "engine/torch/dropout.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <mutex>

namespace bertrand::plugin {
namespace {

uint32_t low(uint64_t value) { return static_cast<uint32_t>(value); }
uint32_t high(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

/// The columns of one row of a mask, into `mask`.
void fill_row(const DropoutKey& key, uint64_t window, uint32_t place, int64_t columns,
              float* mask) {
  const auto count = static_cast<size_t>(columns);
  each_dropout_element(key, window, place, count, [&](size_t element, bool kept) {
    if (element < count) {
      mask[element] = kept ? key.scale : 0.0F;
    }
  });
}

}  // namespace

void seed_generator(const BertrandTorchDropout& dropout, uint64_t window,
                    const c10::Device& device) {
  const Philox::Counter mixed =
      Philox::generate({low(dropout.step), high(dropout.step), low(window), high(window)},
                       {low(dropout.seed), high(dropout.seed)});
  at::Generator generator = at::globalContext().defaultGenerator(device);
  const std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_current_seed(uint64_t{mixed[0]} << 32 | mixed[1]);
}

PassDropout::PassDropout(const BertrandTorchDropout& dropout, bool example_masks)
    : seed_(dropout.seed),
      step_(dropout.step),
      hidden_(dropout.hidden),
      attention_(dropout.attention),
      example_masks_(example_masks) {}

DropoutKey PassDropout::key(int64_t layer, DropoutSite site, double probability) const {
  return make_dropout_key(seed_, step_, static_cast<uint32_t>(layer), site, probability);
}

at::Tensor PassDropout::apply(const at::Tensor& x, const DeviceBatch& batch, int64_t layer,
                              DropoutSite site) const {
  if (hidden_ <= 0) {
    return x;
  }
  if (!example_masks_) {
    return at::dropout(x, hidden_, /*train=*/true);
  }
  const DropoutKey mine = key(layer, site, hidden_);
  const int64_t columns = x.size(1);
  at::Tensor mask = at::empty({batch.tokens(), columns}, at::kFloat);
  auto* values = mask.data_ptr<float>();
  for (size_t window = 0; window < batch.keys.size(); ++window) {
    for (int64_t row = batch.offsets[window]; row < batch.offsets[window + 1]; ++row) {
      const auto place = static_cast<uint32_t>(row - batch.offsets[window]);
      fill_row(mine, batch.keys[window], place, columns, values + row * columns);
    }
  }
  return x * mask.to(x.device()).to(x.scalar_type());
}

at::Tensor PassDropout::attention_mask(const DeviceBatch& batch, int64_t window, int64_t layer,
                                       int64_t heads, const c10::Device& device) const {
  const DropoutKey mine = key(layer, DropoutSite::attention, attention_);
  const auto at = static_cast<size_t>(window);
  const int64_t length = batch.offsets[at + 1] - batch.offsets[at];
  at::Tensor mask = at::empty({heads, length, length}, at::kFloat);
  auto* values = mask.data_ptr<float>();
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t row = 0; row < length; ++row) {
      const uint32_t place =
          attention_dropout_place(static_cast<uint32_t>(head), static_cast<uint32_t>(row));
      fill_row(mine, batch.keys[at], place, length, values + (head * length + row) * length);
    }
  }
  return mask.to(device);
}

}  // namespace bertrand::plugin
