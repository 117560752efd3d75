#pragma once

#include <c10/core/Device.h>
#include <cstdint>
#include <string>

namespace bertrand::plugin {

/// "cpu", "cuda", "cuda:1". A device that LibTorch does not bring itself is made known first, by
/// its `library`, or by one that is looked for where that is null. Throws Failure (usage) where the
/// name means nothing, or where there is no such device.
c10::Device find_device(const std::string& name, const char* library);

/// How many devices of the kind there are; 0 where nothing of it is installed.
uint32_t count_devices(const std::string& type, const char* library);

/// Whether the device multiplies bf16 faster than by the way of f32.
bool has_bf16(const c10::Device& device);

/// Whether LibTorch's attention over padded windows is one kernel there; what it is taken apart
/// into elsewhere changes from version to version.
bool has_fused_attention(const c10::Device& device);

/// Whether the device's own library computes attention over padded windows, and says, when it is
/// asked with the tensors, if that is one kernel: on the card, for their type and shape. torch_mlu
/// does from LibTorch 2.4 on.
bool tells_fused_attention(const c10::Device& device);

/// Whether LibTorch's attention over windows of any length runs there in 16 bits (flash), and
/// in 32.
struct PackedAttention {
  bool of_16_bits = false;
  bool of_32_bits = false;
};
PackedAttention packed_attention(const c10::Device& device);

/// Products of f32 in full, or with 10 bits of each factor (TF32).
void set_tf32(bool allowed);

}  // namespace bertrand::plugin
