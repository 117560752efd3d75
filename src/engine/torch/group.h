#pragma once

#include <ATen/core/Tensor.h>
#include <cstddef>
#include <cstdint>
#include <string>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <vector>

#include "engine/torch_border.h"

namespace bertrand::plugin {

/// The processes of a run, joined by one of c10d's backends.
class Group {
 public:
  /// Waits until all processes are there. Throws Failure: usage where this plug-in has no such
  /// backend, failed where the others do not come in time.
  explicit Group(const BertrandTorchGroupOptions& options);

  /// Each element becomes its sum over the processes, the same bits in all of them. The tensors may
  /// be on any device.
  void sum(at::Tensor& tensor);
  void sum_in_buckets(const std::vector<at::Tensor>& tensors);

  void broadcast(void* bytes, size_t count, uint32_t root);
  void barrier();

 private:
  /// Throws Failure that says what stopped `work`.
  void finish(const c10::intrusive_ptr<c10d::Work>& work) const;

  uint32_t rank_ = 0, count_ = 1;
  c10::Device device_;  ///< where the backend sums
  c10::intrusive_ptr<c10d::Store> store_;
  c10::intrusive_ptr<c10d::Backend> backend_;
};

/// "gloo" or "gloo,nccl": what Group has.
const char* group_backends();

}  // namespace bertrand::plugin
