// What torch_mlu exports for several processes.
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "group_over_gloo.h"

namespace torch_mlu {

class ProcessGroupCNCL : public standin::DerivedOverGloo<c10d::Backend> {
 public:
  using DerivedOverGloo::DerivedOverGloo;

  static c10::intrusive_ptr<c10d::Backend> createProcessGroupCNCL(
      const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
      const std::chrono::milliseconds& timeout);

  const std::string getBackendName() const override { return "cncl"; }
};

// NOLINTNEXTLINE(readability-identifier-naming): torch_mlu's name
c10::intrusive_ptr<c10d::Backend> ProcessGroupCNCL::createProcessGroupCNCL(
    const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
    const std::chrono::milliseconds& timeout) {
  return c10::make_intrusive<ProcessGroupCNCL>(store, rank, size, timeout);
}

}  // namespace torch_mlu
