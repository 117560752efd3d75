#include "train/run_folder.h"

#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/files.h"
#include "train/snapshot.h"

namespace bertrand {
namespace {

namespace fs = std::filesystem;

/// All that a run writes but the weights: those come last, and are then worth keeping.
constexpr const char* kFiles[] = {
    "recipe.json", "run.json",  "events.jsonl", "tokenizer_config.json", "special_tokens_map.json",
    "config.json", "vocab.txt",
};

/// `path` is `folder`, or lies in it.
bool lies_in(const fs::path& path, const fs::path& folder) {
  std::error_code failed;
  fs::path place = fs::weakly_canonical(path, failed);
  while (!failed && place.has_relative_path()) {
    if (std::error_code ignored; fs::equivalent(place, folder, ignored)) {
      return true;
    }
    place = place.parent_path();
  }
  return false;
}

}  // namespace

RunFolder::RunFolder(fs::path path) : path_(std::move(path)) {
  std::error_code failed;
  const fs::path whole = fs::weakly_canonical(path_, failed);
  for (fs::path folder = whole; folder.has_relative_path() && !fs::exists(folder);
       folder = folder.parent_path()) {
    made_.push_back(folder);
  }
  fs::create_directories(path_, failed);
  if (failed) {
    throw Error(ErrorCode::io,
                fmt::format("{}: cannot be created ({}).", path_.string(), failed.message()));
  }
  for (const char* name : kFiles) {
    const bool there = fs::exists(path_ / name);
    before_[name] = there ? std::optional(read_file(path_ / name)) : std::nullopt;
  }
}

RunFolder::~RunFolder() {
  if (keep_) {
    return;
  }
  std::error_code ignored;
  for (const auto& [name, text] : before_) {
    if (!text) {
      fs::remove(path_ / name, ignored);
      continue;
    }
    try {
      if (read_file(path_ / name) != *text) {
        write_file(path_ / name, *text);
      }
    } catch (const std::exception&) {
      // The error that brought us here is the one to tell of.
    }
  }
  for (const fs::path& folder : made_) {
    fs::remove(folder, ignored);  // only where it is empty
  }
}

void check_run_folder(const RunFolderUse& use) {
  const std::string out = use.out.string();
  if (fs::exists(use.out) && !fs::is_directory(use.out)) {
    throw Error(ErrorCode::usage, fmt::format("--out {}: is not a folder.", out));
  }
  if (use.resume && !find_snapshot(use.out / "snapshot")) {
    throw Error(ErrorCode::usage,
                fmt::format("--resume: {} holds no snapshot to go on from (nor does it after a "
                            "finished run).",
                            out));
  }
  if (!use.resume && lies_in(use.model, use.out)) {
    throw Error(ErrorCode::usage,
                fmt::format("--out {}: is where the model to begin from lies ({}). Give another "
                            "folder.",
                            out, use.model.string()));
  }
  if (!use.resume && !use.overwrite && fs::exists(use.out) && !fs::is_empty(use.out)) {
    throw Error(ErrorCode::usage,
                fmt::format("--out {}: is not empty. Give another folder, --resume to go on with "
                            "the run in it, or --overwrite to begin anew.",
                            out));
  }
}

}  // namespace bertrand
