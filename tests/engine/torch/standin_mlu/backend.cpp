// What torch_mlu exports for several processes.
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "group_over_gloo.h"

namespace torch_mlu {

class ProcessGroupCNCL : public c10d::Backend {
 public:
  ProcessGroupCNCL(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                   std::chrono::milliseconds timeout)
      : Backend(rank, size), group_(store, rank, size, timeout) {}

  static c10::intrusive_ptr<c10d::Backend> createProcessGroupCNCL(
      const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
      const std::chrono::milliseconds& timeout);

  const std::string getBackendName() const override { return "cncl"; }
  c10::intrusive_ptr<c10d::Work> allreduce(std::vector<at::Tensor>& tensors,
                                           const c10d::AllreduceOptions& options) override {
    return group_.allreduce(tensors, options);
  }
  c10::intrusive_ptr<c10d::Work> broadcast(std::vector<at::Tensor>& tensors,
                                           const c10d::BroadcastOptions& options) override {
    return group_.broadcast(tensors, options);
  }

 private:
  standin::GroupOverGloo group_;
};

// NOLINTNEXTLINE(readability-identifier-naming): torch_mlu's name
c10::intrusive_ptr<c10d::Backend> ProcessGroupCNCL::createProcessGroupCNCL(
    const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
    const std::chrono::milliseconds& timeout) {
  return c10::make_intrusive<ProcessGroupCNCL>(store, rank, size, timeout);
}

}  // namespace torch_mlu
