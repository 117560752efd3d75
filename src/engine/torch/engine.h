#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/torch/attention.h"
#include "engine/torch/batch.h"
#include "engine/torch/fixed_passes.h"
#include "engine/torch/model.h"
#include "engine/torch/optimizer.h"
#include "engine/torch_border.h"

namespace bertrand::plugin {

class Group;

/// What stands behind a BertrandTorchEngine; see Engine for what its methods do.
class TorchEngine {
 public:
  TorchEngine(const BertrandTorchConfig& config, const BertrandTorchOptions& options,
              const BertrandTorchParameter* parameters, size_t count);

  void load(BertrandTorchKind kind, BertrandTorchRead read, void* context);
  void store(BertrandTorchKind kind, BertrandTorchWrite write, void* context) const;

  uint64_t steps() const { return optimizer_ ? optimizer_->steps() : 0; }
  void set_steps(uint64_t steps) { optimizer().set_steps(steps); }
  BertrandTorchScaling scaling() const;
  void set_scaling(const BertrandTorchScaling& scaling);

  void forward(const BertrandTorchBatch& batch, float* start, float* end);
  void hidden_states(const BertrandTorchBatch& batch, float* states);
  double backward(const BertrandTorchBatch& batch, const BertrandTorchDropout& dropout,
                  double weight);
  BertrandTorchReport step(double learning_rate, const BertrandTorchOptimizer& settings);
  void reduce_gradients(Group& group);

 private:
  struct Parameter {
    std::string name;
    bool decays = false;
    at::Tensor value;
  };

  Optimizer& optimizer();
  Pass pass(bool plain_attention) const;
  void refresh_rounded_weights();
  void make_fixed_passes();
  std::optional<at::Tensor> run_fixed(std::optional<FixedPasses>& passes, size_t most,
                                      const BertrandTorchBatch& batch, double factor);
  void add_gradients(const FixedShape& shape, const FixedPasses::Tensors& fixed);
  std::vector<at::Tensor> tensors(BertrandTorchKind kind) const;
  std::vector<at::Tensor> gradients() const;

  c10::Device device_;
  at::ScalarType products_ = at::kFloat;
  bool tf32_ = false;
  bool example_masks_ = false;
  int64_t head_size_ = 0;
  std::shared_ptr<Model> model_;
  bool weights_changed_ = true;  ///< since they were rounded
  std::vector<Parameter> parameters_;
  std::optional<Optimizer> optimizer_;
  bool scales_ = false;  ///< losses, for fp16
  double loss_scale_ = 65536;
  uint64_t good_steps_ = 0;
  BertrandTorchDropout step_dropout_{};  ///< of the last step; its probabilities are recorded
  std::optional<FixedPasses> answers_, steps_;
};

}  // namespace bertrand::plugin
