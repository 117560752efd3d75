#pragma once

#include <chrono>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "engine/torch_border.h"

namespace bertrand::plugin {

/// Each makes one kind of group; they are in files of their own because of what they include.
c10::intrusive_ptr<c10d::Backend> make_gloo(const c10::intrusive_ptr<c10d::Store>& store,
                                            const BertrandTorchGroupOptions& options,
                                            std::chrono::milliseconds timeout);
#ifdef BERTRAND_TORCH_CUDA
c10::intrusive_ptr<c10d::Backend> make_nccl(const c10::intrusive_ptr<c10d::Store>& store,
                                            const BertrandTorchGroupOptions& options,
                                            std::chrono::milliseconds timeout);
#endif

}  // namespace bertrand::plugin
