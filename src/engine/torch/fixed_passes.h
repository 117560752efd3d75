#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "engine/torch/fixed_batch.h"
#include "engine/torch/recorder.h"
#include "engine/torch_border.h"

namespace bertrand::plugin {

/// Passes over batches rounded up to few shapes, each of which is recorded the second time that it
/// comes, and replayed from then on. On GPUs a small pass takes as long as it takes to launch its
/// some hundred kernels one by one; a recorded one is launched at once.
class FixedPasses {
 public:
  /// What a pass reads and fills, at the same addresses each time.
  struct Tensors {
    at::Tensor values;   ///< what arrange() takes
    at::Tensor factor;   ///< [1], f32
    at::Tensor results;  ///< [results a pass], f32
  };
  /// Computes what may be recorded: it reads the same weights at the same addresses each time, and
  /// neither values nor the host's memory.
  using Work = std::function<void(const FixedShape&, const Tensors&)>;
  using Count = int64_t (*)(const FixedShape&);

  FixedPasses(const c10::Device& device, Count results, Work work);

  /// The results of a pass on the host, or none where its windows are too unlike. Throws
  /// CannotRecord; then nothing was computed, and this is of no more use.
  std::optional<at::Tensor> run(const BertrandTorchBatch& batch, double factor = 1);

  /// No pass computed so far is like those to come.
  void forget();

 private:
  struct Pass {
    Tensors tensors;
    bool computed = false;  ///< once, so that it may be recorded
    std::unique_ptr<Recording> recording;
  };

  Pass& pass_of(const FixedShape& shape);
  void compute(const FixedShape& shape, Pass& pass);

  c10::Device device_;
  Count results_;
  Work work_;
  std::unique_ptr<Recorder> recorder_;  // outlives the recordings
  std::map<FixedShape, Pass> passes_;
};

/// What $BERTRAND_FIXED_SHAPES says: 0 nothing has fixed shapes, 1 everything on the CPU and CUDA;
/// where it is not set, answers on CUDA. Throws Failure (usage) for another value.
struct FixedShapesWanted {
  explicit FixedShapesWanted(const c10::Device& device);

  bool answers, steps;
};

}  // namespace bertrand::plugin
