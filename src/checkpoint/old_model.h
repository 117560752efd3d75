#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/config.h"

namespace bertrand {

/// A model that is to be written into a folder.
struct NewModel {
  BertConfig config;
  std::filesystem::path vocabulary;  ///< empty where none is written
  bool lower_case = true;
  std::string weights;  ///< the name of their file
};

/// What lies in a folder already, compared with what is to be written there.
struct OldModel {
  /// A config is there, and each says the same as the new one.
  bool same_config = false;
  /// vocab.txt is there and tokenizes as the new one.
  bool same_tokenizer = false;
  /// Files of a model that would be replaced, or would not fit what is written, by their names.
  std::vector<std::string> in_the_way;

  static OldModel look(const std::filesystem::path& folder, const NewModel& fresh);
};

/// Removes `names` in `folder` with the parts that an index among them names, but nothing that
/// `source` is read from. Throws Error (io).
void remove_old_files(const std::filesystem::path& folder, const std::vector<std::string>& names,
                      const Checkpoint& source);

/// Whether `path` is one of the files that a checkpoint is read from.
bool is_file_of(const Checkpoint& checkpoint, const std::filesystem::path& path);

}  // namespace bertrand
