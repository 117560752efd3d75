#include "engine/torch/cuda.h"

#include <ATen/cuda/CUDAContext.h>

namespace bertrand::plugin {

int cuda_generation(const c10::Device& device) {
  return at::cuda::getDeviceProperties(device.index())->major;
}

}  // namespace bertrand::plugin
