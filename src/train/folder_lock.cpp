#include "train/folder_lock.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>

#include <fmt/format.h>

#include "base/error.h"

namespace bertrand {

FolderLock::FolderLock(const std::filesystem::path& folder)
    : folder_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (folder_.number() >= 0 && ::flock(folder_.number(), LOCK_EX | LOCK_NB) != 0 &&
      errno == EWOULDBLOCK) {
    throw Error(ErrorCode::usage,
                fmt::format("--out {}: another run writes to it now. Wait for its end, or give "
                            "another folder.",
                            folder.string()));
  }
}

}  // namespace bertrand
