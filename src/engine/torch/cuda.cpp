#include "engine/torch/cuda.h"

#include <ATen/cuda/CUDAContext.h>
#include <cstdlib>

namespace bertrand::plugin {

int cuda_generation(const c10::Device& device) {
  return at::cuda::getDeviceProperties(device.index())->major;
}

namespace {

/// Of $CUDA_VISIBLE_DEVICES ("2,0" or "MIG-41b36014-..."), where MIG's parts of a card have names
/// of their own. A process sees one of them.
std::string mig_name() {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  const std::string name = visible != nullptr ? visible : "";
  return name.starts_with("MIG-") ? name.substr(0, name.find(',')) : "";
}

}  // namespace

std::string cuda_card_name(const c10::Device& device) {
  std::string name = "GPU-";
  for (const char byte : at::cuda::getDeviceProperties(device.index())->uuid.bytes) {
    constexpr const char* kDigits = "0123456789abcdef";
    const auto value = static_cast<unsigned char>(byte);
    name += {kDigits[value >> 4], kDigits[value & 15]};
  }
  return name + mig_name();
}

}  // namespace bertrand::plugin
