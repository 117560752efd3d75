#include "engine/torch/recorder.h"

#include <utility>

#ifdef BERTRAND_TORCH_CUDA
#include "engine/torch/cuda.h"
#endif

namespace bertrand::plugin {
namespace {

class Recomputed final : public Recording {
 public:
  explicit Recomputed(std::function<void()> work) : work_(std::move(work)) {}
  void replay() override { work_(); }

 private:
  std::function<void()> work_;
};

class Recomputer final : public Recorder {
 public:
  void run(const std::function<void()>& work) override { work(); }
  std::unique_ptr<Recording> record(const std::function<void()>& work) override {
    return std::make_unique<Recomputed>(work);
  }
};

}  // namespace

std::unique_ptr<Recorder> make_recorder([[maybe_unused]] const c10::Device& device) {
#ifdef BERTRAND_TORCH_CUDA
  if (device.is_cuda()) {
    return make_cuda_recorder(device);
  }
#endif
  return std::make_unique<Recomputer>();
}

}  // namespace bertrand::plugin
