#pragma once

#include <c10/core/Device.h>
#include <chrono>
#include <memory>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "engine/torch/exchange.h"
#include "engine/torch_border.h"

namespace bertrand::plugin {

/// Each joins the processes in one way; they are in files of their own because of what they
/// include.
std::unique_ptr<Exchange> make_gloo(const c10::intrusive_ptr<c10d::Store>& store,
                                    const BertrandTorchGroupOptions& options,
                                    std::chrono::milliseconds timeout);
#ifdef BERTRAND_TORCH_CUDA
std::unique_ptr<Exchange> make_nccl(const c10::intrusive_ptr<c10d::Store>& store,
                                    const BertrandTorchGroupOptions& options,
                                    std::chrono::milliseconds timeout);
#endif
/// By the process group of the libtorch_mlu.so that is open; where it has none (its builds without
/// Python leave it out) by libcncl itself.
std::unique_ptr<Exchange> make_cncl(const c10::intrusive_ptr<c10d::Store>& store,
                                    const BertrandTorchGroupOptions& options,
                                    std::chrono::milliseconds timeout, const c10::Device& device);

}  // namespace bertrand::plugin
