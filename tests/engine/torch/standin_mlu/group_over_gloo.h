#pragma once

#include <ATen/core/Tensor.h>
#include <chrono>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

namespace standin {

/// Gloo in the device's memory. As CNCL, it takes no doubles.
class GroupOverGloo {
 public:
  GroupOverGloo(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                std::chrono::milliseconds timeout);

  c10::intrusive_ptr<c10d::Work> allreduce(const std::vector<at::Tensor>& tensors,
                                           const c10d::AllreduceOptions& options) const;
  c10::intrusive_ptr<c10d::Work> broadcast(const std::vector<at::Tensor>& tensors,
                                           const c10d::BroadcastOptions& options) const;

 private:
  c10::intrusive_ptr<c10d::Backend> gloo_;
};

}  // namespace standin
