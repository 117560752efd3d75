#pragma once

#include <ATen/core/Tensor.h>
#include <chrono>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

namespace standin {

/// Gloo in the device's memory. As CNCL, it takes no doubles, and what hinders it
/// ($STANDIN_MLU_REFUSES) is said in the first sum.
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

/// What torch_mlu's group derives from, by gloo.
template <typename Base>
class DerivedOverGloo : public Base {
 public:
  DerivedOverGloo(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                  std::chrono::milliseconds timeout)
      : Base(rank, size), group_(store, rank, size, timeout) {}

  c10::intrusive_ptr<c10d::Work> allreduce(std::vector<at::Tensor>& tensors,
                                           const c10d::AllreduceOptions& options) override {
    return group_.allreduce(tensors, options);
  }
  c10::intrusive_ptr<c10d::Work> broadcast(std::vector<at::Tensor>& tensors,
                                           const c10d::BroadcastOptions& options) override {
    return group_.broadcast(tensors, options);
  }

 private:
  GroupOverGloo group_;
};

}  // namespace standin
