#pragma once

#include <cstddef>

namespace bertrand::test {

/// The most memory taken by `new` at any time since this was made, beyond what was taken then;
/// whatever thread took it. Mapped files do not count: their pages are the system's to take back.
class PeakMemory {
 public:
  PeakMemory();
  size_t bytes() const;

  /// All bytes taken since this was made, also those given back again: a measure of work that does
  /// not depend on the machine.
  size_t taken() const;

 private:
  size_t before_;
  size_t taken_before_;
};

/// What reading a file may take beside the file itself, however hostile it is.
inline constexpr size_t kMostMemory = 64 << 20;

}  // namespace bertrand::test
