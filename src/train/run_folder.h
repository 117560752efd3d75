#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "base/files.h"
#include "checkpoint/model_folder.h"
#include "train/folder_lock.h"

namespace bertrand {

/// The folder a run writes to, while it has nothing in it worth keeping. Unless keep() is called it
/// is at the end as it was before: what the run made is gone, folders too, the small files it
/// replaced have their text again, and a snapshot set aside is in its place.
class RunFolder {
 public:
  /// Makes the folder. Throws Error: io, usage where another run writes to it now.
  explicit RunFolder(std::filesystem::path path);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  /// Takes an earlier run's snapshot out of the way, so that find_snapshot() brings it back after a
  /// kill; the first snapshot written removes it, and keep() does.
  void set_aside(const std::filesystem::path& snapshot);

  void keep();

 private:
  std::filesystem::path path_;
  NewFolder folder_;
  FolderLock lock_;
  std::filesystem::path snapshot_, aside_;  ///< where it was and is; empty where there was none
  std::map<std::string, std::optional<std::string>> before_;  ///< file to text; none: no file
  bool keep_ = false;
};

/// Throws Error (io) where the folder's disk has no room for the model, and for a `snapshot` beside
/// it (weights and two moments): better now than after hours.
void check_run_space(const std::filesystem::path& folder, const ModelFolderContents& model,
                     bool snapshot);

/// Throws Error (usage) unless a run may write to `out`: it is new or empty, or `resume` (it holds
/// a snapshot), `overwrite` or, where it holds none, `overwrite_finished` says what to do with what
/// is in it; and it is not, nor holds, the model the run begins from, but that `own_weights` may
/// lie right in it; and no other run writes to it now. Writes nothing, but puts a snapshot in order
/// that was half replaced.
struct RunFolderUse {
  std::filesystem::path out;
  std::filesystem::path model;
  bool resume = false;
  bool overwrite = false;
  bool overwrite_finished = false;
  bool own_weights = false;
};
void check_run_folder(const RunFolderUse& use);

}  // namespace bertrand
