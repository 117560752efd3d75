#pragma once

#include <filesystem>

#include "distributed/descriptor.h"

namespace bertrand {

/// Keeps other runs out of a folder while it lives; the system ends it with the process. Where the
/// folder's file system has no such locks, or there is no folder, nobody is kept out.
class FolderLock {
 public:
  /// Throws Error (usage) where another run has it.
  explicit FolderLock(const std::filesystem::path& folder);

 private:
  Descriptor folder_;
};

}  // namespace bertrand
