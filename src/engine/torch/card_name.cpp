#include "engine/torch/card_name.h"

#include <array>

#include "engine/torch/mlu.h"
#ifdef BERTRAND_TORCH_CUDA
#include "engine/torch/cuda.h"
#endif

namespace bertrand::plugin {
namespace {

/// Its place on the bus, from CNRT, which torch_mlu brings.
std::string mlu_card_name(int device) {
  using GetPlace = int(char* place, int size, int device);
  auto* get_place = reinterpret_cast<GetPlace*>(mlu_symbol("cnrtDeviceGetPCIBusId"));
  std::array<char, 64> place{};
  const bool told = get_place != nullptr &&
                    get_place(place.data(), static_cast<int>(place.size()) - 1, device) == 0;
  return told ? place.data() : "";
}

}  // namespace

std::string card_name(const c10::Device& device) {
#ifdef BERTRAND_TORCH_CUDA
  if (device.is_cuda()) {
    return cuda_card_name(device);
  }
#endif
  return device.is_cpu() ? "" : mlu_card_name(device.index());
}

}  // namespace bertrand::plugin
