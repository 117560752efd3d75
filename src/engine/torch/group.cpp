#include "engine/torch/group.h"

#include <ATen/ATen.h>
#include <chrono>
#include <cmath>
#include <exception>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

#include "engine/torch/backends.h"
#include "engine/torch/device.h"
#include "engine/torch/failure.h"
#include "engine/torch/sentence.h"

namespace bertrand::plugin {
namespace {

/// f32 values summed in one message; large enough to fill a network, small beside the weights.
constexpr int64_t kBucketValues = int64_t{1} << 23;

std::chrono::milliseconds timeout_of(const BertrandTorchGroupOptions& options) {
  return std::chrono::milliseconds(static_cast<int64_t>(std::ceil(options.timeout * 1e3)));
}

std::string where(uint32_t rank, uint32_t count) {
  return "Rank " + std::to_string(rank) + " of " + std::to_string(count);
}

std::string remedy_of(const std::exception& error) {
  const std::string text = first_line(error);
  const bool is_taken = text.find("EADDRINUSE") != std::string::npos ||
                        text.find("already in use") != std::string::npos;
  return is_taken ? "); give another --master-port (MASTER_PORT), the same to all of them."
                  : "); look whether all of them run and MASTER_ADDR and MASTER_PORT are right.";
}

c10::intrusive_ptr<c10d::Store> open_store(const BertrandTorchGroupOptions& options) {
  c10d::TCPStoreOptions how;
  how.port = options.port;
  how.isServer = options.serves_store != 0;
  how.numWorkers = options.count;
  how.timeout = timeout_of(options);
  try {
    c10::intrusive_ptr<c10d::Store> store =
        c10::make_intrusive<c10d::TCPStore>(options.address, how);
    if (options.prefix != nullptr) {
      store = c10::make_intrusive<c10d::PrefixStore>(options.prefix, std::move(store));
    }
    return store;
  } catch (const std::exception& error) {
    throw Failure(bertrand_torch_failed, where(options.rank, options.count) +
                                             ": the others cannot be met at " + options.address +
                                             ":" + std::to_string(options.port) + " (" +
                                             first_line(error) + remedy_of(error));
  }
}

std::unique_ptr<Exchange> make_exchange(const c10::intrusive_ptr<c10d::Store>& store,
                                        const BertrandTorchGroupOptions& options,
                                        const c10::Device& device) {
  const std::string name = options.backend;
#ifdef BERTRAND_TORCH_CUDA
  if (name == "nccl") {
    return make_nccl(store, options, timeout_of(options));
  }
#endif
  if (name == "cncl") {
    return make_cncl(store, options, timeout_of(options), device);
  }
  return make_gloo(store, options, timeout_of(options));
}

void check_backend(const std::string& name) {
  const std::string all = std::string(",") + group_backends() + ",";
  if (all.find("," + name + ",") == std::string::npos) {
    throw Failure(bertrand_torch_usage, "Processes cannot be joined by " + name +
                                            ": this libbertrand_torch.so has " + group_backends() +
                                            (name == "nccl" ? "; build it with "
                                                              "-DBERTRAND_TORCH_CUDA=ON."
                                                            : "."));
  }
}

}  // namespace

const char* group_backends() {
#ifdef BERTRAND_TORCH_CUDA
  return "gloo,nccl,cncl";
#else
  return "gloo,cncl";
#endif
}

Group::Group(const BertrandTorchGroupOptions& options)
    : rank_(options.rank), count_(options.count), device_(c10::kCPU) {
  check_backend(options.backend);
  if (std::string(options.backend) != "gloo") {
    device_ = find_device(options.device, options.library);
  }
  store_ = open_store(options);
  try {
    exchange_ = make_exchange(store_, options, device_);
    // NCCL and CNCL connect in the first exchange alone: what hinders them is no fault of others.
    at::Tensor nothing = at::zeros({1}, at::TensorOptions(device_));
    exchange_->sum(nothing);
    nothing.cpu();  // waits for it
  } catch (const std::exception& error) {
    throw Failure(bertrand_torch_failed, where(rank_, count_) + ": " + options.backend +
                                             " cannot join the others (" + first_line(error) +
                                             ").");
  }
}

void Group::together(const std::function<void()>& work) const {
  try {
    work();
  } catch (const std::exception& error) {
    throw Failure(bertrand_torch_elsewhere,
                  where(rank_, count_) + ": the others do not answer any more (" +
                      first_line(error) + "); one of them has ended or hangs.");
  }
}

void Group::sum(at::Tensor& tensor) {
  if (tensor.scalar_type() == at::kDouble && device_.is_privateuseone()) {
    sum_of_parts(tensor);
    return;
  }
  at::Tensor there = tensor.to(device_).contiguous();
  together([&] { exchange_->sum(there); });
  if (!there.is_same(tensor)) {
    tensor.copy_(there);
  }
}

void Group::sum_of_parts(at::Tensor& doubles) {
  const int64_t values = doubles.numel();
  const at::Tensor mine = doubles.contiguous().view({values}).view(at::kInt);
  at::Tensor all = at::zeros({count_, 2 * values}, at::kInt);
  all[rank_].copy_(mine);
  sum(all);
  doubles.copy_(all.view(at::kDouble).sum(0).view(doubles.sizes()));
}

void Group::sum_in_buckets(const std::vector<at::Tensor>& tensors) {
  size_t first = 0;
  while (first < tensors.size()) {
    std::vector<at::Tensor> flat;
    int64_t values = 0;
    size_t end = first;
    for (; end < tensors.size() && (values == 0 || values < kBucketValues); ++end) {
      flat.push_back(tensors[end].view({-1}));
      values += tensors[end].numel();
    }
    at::Tensor bucket = at::cat(flat);
    sum(bucket);
    int64_t begin = 0;
    for (at::Tensor& part : flat) {
      part.copy_(bucket.narrow(0, begin, part.numel()));
      begin += part.numel();
    }
    first = end;
  }
}

void Group::broadcast(void* bytes, size_t count, uint32_t root) {
  at::Tensor host = at::from_blob(bytes, {static_cast<int64_t>(count)}, at::kByte);
  at::Tensor there = host.to(device_);
  together([&] { exchange_->broadcast(there, static_cast<int>(root)); });
  if (!there.is_same(host)) {
    host.copy_(there);
  }
}

void Group::barrier() {
  at::Tensor nothing = at::zeros({1}, at::kFloat);
  sum(nothing);
}

}  // namespace bertrand::plugin
