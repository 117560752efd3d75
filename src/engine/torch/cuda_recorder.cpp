#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <exception>

#include "engine/torch/cuda.h"
#include "engine/torch/sentence.h"

namespace bertrand::plugin {
namespace {

using Pool = decltype(at::cuda::graph_pool_handle());

class CudaRecording final : public Recording {
 public:
  /// On the current stream. What other threads do with the device meanwhile is their own affair.
  void record(const Pool& pool, const std::function<void()>& work) {
    graph_.capture_begin(pool, cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      end_in_vain();
      throw;
    }
    graph_.capture_end();
  }

  void replay() override { graph_.replay(); }

 private:
  /// Otherwise the stream could not be used again. The first error says what is wrong.
  void end_in_vain() {
    try {
      graph_.capture_end();
    } catch (const std::exception&) {
      return;
    }
  }

  at::cuda::CUDAGraph graph_;
};

/// All recordings share one pool of memory: no two run at once, and none leaves there what another
/// would read. They share the stream's workspace of cuBLAS, too, which some versions of LibTorch
/// free with the first of them that goes: so they may go all together only.
class CudaRecorder final : public Recorder {
 public:
  explicit CudaRecorder(const c10::Device& device)
      : stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index())),
        pool_(at::cuda::graph_pool_handle()) {}

  void run(const std::function<void()>& work) override {
    c10::cuda::getCurrentCUDAStream(stream_.device_index()).synchronize();
    const c10::cuda::CUDAStreamGuard guard(stream_);
    work();
    stream_.synchronize();
  }

  std::unique_ptr<Recording> record(const std::function<void()>& work) override {
    try {
      auto recording = std::make_unique<CudaRecording>();
      recording->record(pool_, work);
      return recording;
    } catch (const std::exception& error) {
      throw CannotRecord(first_line(error));
    }
  }

  /// A pool that nobody uses any more is not to be used again.
  void begin_anew() override { pool_ = at::cuda::graph_pool_handle(); }

 private:
  c10::cuda::CUDAStream stream_;
  Pool pool_;
};

}  // namespace

std::unique_ptr<Recorder> make_cuda_recorder(const c10::Device& device) {
  return std::make_unique<CudaRecorder>(device);
}

}  // namespace bertrand::plugin
