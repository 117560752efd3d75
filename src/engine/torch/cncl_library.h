#pragma once

#include <c10/core/Device.h>
#include <chrono>
#include <memory>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "engine/torch/exchange.h"

namespace bertrand::plugin {

struct CnclPlace {
  int count = 1, rank = 0;  ///< processes, and which of them this one is
  std::chrono::milliseconds timeout{};
  c10::Device device;
};

/// Joins processes on MLU cards by the C functions of libcncl, for builds of torch_mlu without a
/// process group. Of f32, i32 and bytes. libcncl is that of torch_mlu, else one that is looked for
/// as libraries are, else that of $NEUWARE_HOME/lib64. Source: cncl.h of CNCL 1.25 and cnrt.h of
/// CNRT 6.0. Throws std::runtime_error: no libcncl, or what it says is wrong.
std::unique_ptr<Exchange> make_cncl_exchange(const c10::intrusive_ptr<c10d::Store>& store,
                                             const CnclPlace& place);

}  // namespace bertrand::plugin
