#include "engine/torch/device.h"

#include <ATen/Context.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/util/Exception.h>

#include "engine/torch/failure.h"
#include "engine/torch/kernels.h"
#include "engine/torch/mlu.h"
#ifdef BERTRAND_TORCH_CUDA
#include "engine/torch/cuda.h"
#endif

namespace bertrand::plugin {
namespace {

/// "cuda" of "cuda:1".
std::string type_of(const std::string& name) { return name.substr(0, name.find(':')); }

/// Makes LibTorch know devices of this type, so that their names can be parsed.
void make_known(const std::string& type, const char* library) {
  if (type == "mlu") {
    open_mlu(library);
  }
#ifndef BERTRAND_TORCH_CUDA
  if (type == "cuda") {
    throw Failure(bertrand_torch_usage,
                  "--device cuda: this libbertrand_torch.so was built for the CPU alone; build it "
                  "with -DBERTRAND_TORCH_CUDA=ON.");
  }
#endif
}

uint32_t count_known(c10::DeviceType type) {
  if (!c10::impl::hasDeviceGuardImpl(type)) {
    return 0;
  }
  return static_cast<uint32_t>(c10::impl::getDeviceGuardImpl(type)->deviceCount());
}

/// As the versions of LibTorch name it; the earliest leave it to the first tensor.
template <typename Context>
void initialise([[maybe_unused]] Context& context, [[maybe_unused]] c10::DeviceType type) {
  if constexpr (requires { context.lazyInitDevice(type); }) {
    context.lazyInitDevice(type);
  } else if constexpr (requires { context.lazyInitPrivateUse1(); }) {
    if (type == c10::kPrivateUse1) {
      context.lazyInitPrivateUse1();
    }
  }
}

c10::Device parse(const std::string& name) {
  const std::string type = type_of(name);
  if (type == "cpu" || type == "cuda" || type == "mlu") {
    try {
      return c10::Device(name);
    } catch (const c10::Error&) {
      // Said below.
    }
  }
  throw Failure(bertrand_torch_usage, "--device " + name +
                                          " is not known; give cpu, cuda or mlu, the last two with "
                                          "a number where there are several (cuda:1).");
}

}  // namespace

c10::Device find_device(const std::string& name, const char* library) {
  const std::string type = type_of(name);
  make_known(type, library);
  const c10::Device parsed = parse(name);
  if (parsed.is_cpu()) {
    return c10::Device(c10::kCPU);
  }
  const uint32_t count = count_known(parsed.type());
  const auto index = parsed.has_index() ? static_cast<uint32_t>(parsed.index()) : 0;
  if (count == 0) {
    throw Failure(bertrand_torch_usage,
                  "--device " + name + ": this machine shows no such device; look at its driver (" +
                      (type == "cuda" ? "nvidia-smi" : "cnmon") + "), or give --device cpu.");
  }
  if (index >= count) {
    throw Failure(bertrand_torch_usage, "--device " + name + ": there are " +
                                            std::to_string(count) + " such devices, 0 to " +
                                            std::to_string(count - 1) + ".");
  }
  initialise(at::globalContext(), parsed.type());
  return c10::Device(parsed.type(), static_cast<c10::DeviceIndex>(index));
}

uint32_t count_devices(const std::string& type, const char* library) {
  make_known(type_of(type), library);
  const c10::Device parsed = parse(type);
  return parsed.is_cpu() ? 1 : count_known(parsed.type());
}

bool has_bf16(const c10::Device& device) {
#ifdef BERTRAND_TORCH_CUDA
  if (device.is_cuda()) {
    return cuda_generation(device) >= kAmpere;
  }
#endif
  return device.is_cpu();
}

bool has_fused_attention(const c10::Device& device) { return device.is_cpu() || device.is_cuda(); }

bool tells_fused_attention(const c10::Device& device) {
  constexpr auto kOwn = c10::DispatchKey::PrivateUse1;
  return device.type() == c10::kPrivateUse1 && has_kernel("aten::_fused_sdp_choice", "", kOwn) &&
         has_kernel("aten::scaled_dot_product_attention", "", kOwn);
}

PackedAttention packed_attention([[maybe_unused]] const c10::Device& device) {
#ifdef BERTRAND_TORCH_CUDA
  if (device.is_cuda()) {
    // The kernel for f32 has no derivative in all versions; padded windows do as well.
    return {cuda_generation(device) >= kAmpere, /*of_32_bits=*/false};
  }
#endif
  return {};
}

void set_tf32(bool allowed) {
  at::globalContext().setFloat32MatmulPrecision(allowed ? "high" : "highest");
}

}  // namespace bertrand::plugin
