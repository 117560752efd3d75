#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace bertrand {

/// The folder a run writes to, while it has nothing in it worth keeping. Unless keep() is called it
/// is at the end as it was before: what the run made is gone, folders too, and the small files it
/// replaced have their text again.
class RunFolder {
 public:
  /// Makes the folder. Throws Error (io).
  explicit RunFolder(std::filesystem::path path);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  void keep() { keep_ = true; }

 private:
  std::filesystem::path path_;
  std::vector<std::filesystem::path> made_;                   ///< folders, the innermost first
  std::map<std::string, std::optional<std::string>> before_;  ///< file to text; none: no file
  bool keep_ = false;
};

/// Throws Error (usage) unless a run may write to `out`: it is new or empty, or `resume` (it holds
/// a snapshot) or `overwrite` says what to do with what is in it; and it is not, nor holds, the
/// model the run begins from. Writes nothing, but puts a snapshot in order that was half replaced.
struct RunFolderUse {
  std::filesystem::path out;
  std::filesystem::path model;
  bool resume = false;
  bool overwrite = false;
};
void check_run_folder(const RunFolderUse& use);

}  // namespace bertrand
