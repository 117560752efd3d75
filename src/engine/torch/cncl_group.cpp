#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>
#include <chrono>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include "engine/torch/backends.h"
#include "engine/torch/cncl_library.h"
#include "engine/torch/mlu.h"

namespace bertrand::plugin {
namespace {

using Store = c10::intrusive_ptr<c10d::Store>;

/// c10d's registry of backends is Python's; but torch_mlu exports the function it registers there:
/// torch_mlu::ProcessGroupCNCL::createProcessGroupCNCL(store, rank, size, timeout). Its last
/// argument, which its symbol's name tells, is in milliseconds, and in older versions in seconds, a
/// float; these return a ProcessGroup.
constexpr const char* kMilliseconds =
    "_ZN9torch_mlu16ProcessGroupCNCL22createProcessGroupCNCLERKN3c1013intrusive_"
    "ptrIN4c10d5StoreENS1_"
    "6detail34intrusive_target_default_null_typeIS4_"
    "EEEEiiRKNSt6chrono8durationIlSt5ratioILl1ELl1000"
    "EEEE";
using CreateBackend = c10::intrusive_ptr<c10d::Backend>(const Store&, int, int,
                                                        const std::chrono::milliseconds&);

using Seconds = std::chrono::duration<float>;
constexpr const char* kSeconds =
    "_ZN9torch_mlu16ProcessGroupCNCL22createProcessGroupCNCLERKN3c1013intrusive_"
    "ptrIN4c10d5StoreENS1_"
    "6detail34intrusive_target_default_null_typeIS4_"
    "EEEEiiRKNSt6chrono8durationIfSt5ratioILl1ELl1EEEE";
using CreateProcessGroup = c10::intrusive_ptr<c10d::ProcessGroup>(const Store&, int, int,
                                                                  const Seconds&);

template <typename Function>
Function* find(const char* name) {
  return reinterpret_cast<Function*>(mlu_symbol(name));
}

}  // namespace

std::unique_ptr<Exchange> make_cncl(const Store& store, const BertrandTorchGroupOptions& options,
                                    std::chrono::milliseconds timeout, const c10::Device& device) {
  const c10::DeviceGuard guard(device);
  const auto rank = static_cast<int>(options.rank);
  const auto count = static_cast<int>(options.count);
  if (auto* create = find<CreateBackend>(kMilliseconds)) {
    return exchange_by(create(store, rank, count, timeout));
  }
  if (auto* create = find<CreateProcessGroup>(kSeconds)) {
    return exchange_by(create(store, rank, count, Seconds(timeout)));
  }
  return make_cncl_exchange(store, {count, rank, timeout, device});
}

}  // namespace bertrand::plugin
