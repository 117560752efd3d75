#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "engine/torch/backends.h"

namespace bertrand::plugin {

std::unique_ptr<Exchange> make_nccl(const c10::intrusive_ptr<c10d::Store>& store,
                                    const BertrandTorchGroupOptions& options,
                                    std::chrono::milliseconds timeout) {
  auto how = c10d::ProcessGroupNCCL::Options::create();
  how->timeout = timeout;
  return exchange_by(c10::make_intrusive<c10d::ProcessGroupNCCL>(
      store, static_cast<int>(options.rank), static_cast<int>(options.count), std::move(how)));
}

}  // namespace bertrand::plugin
