#include "group_over_gloo.h"

#include <c10/util/Exception.h>
#include <cstdlib>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "tensors.h"

namespace standin {
namespace {

std::vector<at::Tensor> all_seen(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> all;
  for (const at::Tensor& tensor : tensors) {
    TORCH_CHECK(!tensor.is_cpu() && tensor.is_contiguous(),
                "not a tensor of the device in a piece");
    TORCH_CHECK(tensor.scalar_type() != at::kDouble, "CNCL exchanges no doubles");
    all.push_back(seen(tensor));
  }
  return all;
}

}  // namespace

GroupOverGloo::GroupOverGloo(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                             std::chrono::milliseconds timeout) {
  auto options = c10d::ProcessGroupGloo::Options::create(timeout);
  options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
  gloo_ = c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, options);
}

c10::intrusive_ptr<c10d::Work> GroupOverGloo::allreduce(
    const std::vector<at::Tensor>& tensors, const c10d::AllreduceOptions& options) const {
  const char* refuses = std::getenv("STANDIN_MLU_REFUSES");
  TORCH_CHECK(refuses == nullptr, refuses);
  std::vector<at::Tensor> all = all_seen(tensors);
  return gloo_->allreduce(all, options);
}

c10::intrusive_ptr<c10d::Work> GroupOverGloo::broadcast(
    const std::vector<at::Tensor>& tensors, const c10d::BroadcastOptions& options) const {
  std::vector<at::Tensor> all = all_seen(tensors);
  return gloo_->broadcast(all, options);
}

}  // namespace standin
