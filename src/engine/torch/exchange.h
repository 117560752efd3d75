#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/intrusive_ptr.h>
#include <memory>
#include <torch/csrc/distributed/c10d/Types.hpp>
#include <utility>
#include <vector>

namespace bertrand::plugin {

/// What the processes of a group do together, with tensors on the device they were joined for.
/// Throws std::exception where the others do not answer.
class Exchange {
 public:
  Exchange() = default;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  virtual ~Exchange() = default;

  /// Each element becomes its sum over the processes, the same bits in all of them.
  virtual void sum(at::Tensor& tensor) = 0;
  virtual void broadcast(at::Tensor& tensor, int root) = 0;
};

/// By c10d: a Backend, or what older versions of torch_mlu derive from ProcessGroup.
template <typename Joined>
class JoinedExchange final : public Exchange {
 public:
  explicit JoinedExchange(c10::intrusive_ptr<Joined> joined) : joined_(std::move(joined)) {}

  void sum(at::Tensor& tensor) override {
    std::vector<at::Tensor> tensors = {tensor};
    joined_->allreduce(tensors)->wait();
  }
  void broadcast(at::Tensor& tensor, int root) override {
    std::vector<at::Tensor> tensors = {tensor};
    c10d::BroadcastOptions from;
    from.rootRank = root;
    from.rootTensor = 0;
    joined_->broadcast(tensors, from)->wait();
  }

 private:
  c10::intrusive_ptr<Joined> joined_;
};

template <typename Joined>
std::unique_ptr<Exchange> exchange_by(c10::intrusive_ptr<Joined> joined) {
  return std::make_unique<JoinedExchange<Joined>>(std::move(joined));
}

}  // namespace bertrand::plugin
