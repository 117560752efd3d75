#pragma once

#include <c10/core/Device.h>
#include <memory>
#include <string>

#include "engine/torch/recorder.h"

namespace bertrand::plugin {

inline constexpr int kAmpere = 8;

/// Major number of the device's compute capability.
int cuda_generation(const c10::Device& device);

/// Of the card, or of its part where it is shared by MIG.
std::string cuda_card_name(const c10::Device& device);

/// Records by CUDA's graphs.
std::unique_ptr<Recorder> make_cuda_recorder(const c10::Device& device);

}  // namespace bertrand::plugin
