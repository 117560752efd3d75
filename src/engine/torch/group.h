#pragma once

#include <ATen/core/Tensor.h>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

#include "engine/torch/exchange.h"
#include "engine/torch_border.h"

namespace bertrand::plugin {

/// The processes of a run, joined by c10d or libcncl.
class Group {
 public:
  /// Waits until all processes are there and have exchanged something. Throws Failure: usage where
  /// this plug-in has no such backend, failed where the others do not come in time or the backend
  /// cannot join them.
  explicit Group(const BertrandTorchGroupOptions& options);

  /// Each element becomes its sum over the processes, the same bits in all of them. The tensors may
  /// be on any device.
  void sum(at::Tensor& tensor);
  void sum_in_buckets(const std::vector<at::Tensor>& tensors);

  void broadcast(void* bytes, size_t count, uint32_t root);
  void barrier();

 private:
  /// Throws Failure that says what stopped `work`.
  void together(const std::function<void()>& work) const;

  /// For devices without doubles: the bits of all, each process's in a place of its own, travel as
  /// integers, and the sum is made here, in the order of the processes.
  void sum_of_parts(at::Tensor& doubles);

  uint32_t rank_ = 0, count_ = 1;
  c10::Device device_;  ///< where the exchange sums
  c10::intrusive_ptr<c10d::Store> store_;
  std::unique_ptr<Exchange> exchange_;
};

/// "gloo,cncl" or "gloo,nccl,cncl": what Group has; cncl wants a libtorch_mlu.so, too.
const char* group_backends();

}  // namespace bertrand::plugin
