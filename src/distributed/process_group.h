#pragma once

#include <cstddef>
#include <span>

namespace bertrand {

/// Which of how many processes this is.
struct ProcessPlace {
  unsigned count = 1;
  unsigned rank = 0;
};

/// The processes of one run. Every process makes the same calls in the same order, with spans of
/// the same sizes; a call returns when the values are there. Sums are the same bits in every
/// process. Methods throw Error (runtime) naming the process that is gone, where that is known.
class ProcessGroup {
 public:
  virtual ~ProcessGroup() = default;

  virtual ProcessPlace place() const = 0;

  /// Each value becomes its sum over the processes.
  virtual void sum(std::span<double> values) = 0;
  virtual void sum(std::span<float> values) = 0;

  /// The bytes of process `root` in every process.
  virtual void broadcast(std::span<std::byte> bytes, unsigned root) = 0;

  /// Returns when every process has called it.
  virtual void barrier() = 0;
};

}  // namespace bertrand
