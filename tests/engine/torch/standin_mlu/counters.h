#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace standin {

/// What happened so far. Written to the end of $STANDIN_MLU_REPORT, one line a process, when it
/// ends.
void count_operator();
void count_fallback(const std::string& name);
void count_to_device();
void count_to_host();
void count_fused_attention();
void count_fused_step();

}  // namespace standin

extern "C" {

struct StandinMluCounts {
  uint64_t operators;  ///< run on the device
  uint64_t fallbacks;  ///< of these, ones that the device has no kernel for
  uint64_t to_device, to_host;
  uint64_t fused_attention, fused_steps;  ///< calls of kernels that $STANDIN_MLU_FUSED brings
};
void standin_mlu_counts(struct StandinMluCounts* counts);

/// Names of the operators that fell back, with a blank between; valid until the next call.
const char* standin_mlu_fallbacks();

/// Memory of the current device; and where its kernels see it.
void* standin_mlu_allocate(size_t bytes);
void* standin_mlu_inside(const void* pointer);
}
