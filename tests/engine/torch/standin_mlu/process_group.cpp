// What older versions of torch_mlu export for several processes.
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include "group_over_gloo.h"

namespace torch_mlu {

using Seconds = std::chrono::duration<float>;

class ProcessGroupCNCL : public standin::DerivedOverGloo<c10d::ProcessGroup> {
 public:
  ProcessGroupCNCL(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                   Seconds timeout)
      : DerivedOverGloo(store, rank, size,
                        std::chrono::duration_cast<std::chrono::milliseconds>(timeout)) {}

  static c10::intrusive_ptr<c10d::ProcessGroup> createProcessGroupCNCL(
      const c10::intrusive_ptr<c10d::Store>& store, int rank, int size, const Seconds& timeout);
};

// NOLINTNEXTLINE(readability-identifier-naming): torch_mlu's name
c10::intrusive_ptr<c10d::ProcessGroup> ProcessGroupCNCL::createProcessGroupCNCL(
    const c10::intrusive_ptr<c10d::Store>& store, int rank, int size, const Seconds& timeout) {
  return c10::make_intrusive<ProcessGroupCNCL>(store, rank, size, timeout);
}

}  // namespace torch_mlu
