#include "train/run_folder.h"

#include <system_error>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "train/snapshot.h"

namespace bertrand {
namespace {

namespace fs = std::filesystem;

/// All that a run writes but the weights: those come last, and are then worth keeping.
constexpr const char* kFiles[] = {
    "recipe.json",
    "run.json",
    "events.jsonl",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "config.json",
    "vocab.txt",
    "bert_config.json",
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

/// `path` is `folder`, or a file right in it.
bool is_own(const fs::path& path, const fs::path& folder) {
  std::error_code ignored;
  const fs::path place = fs::is_directory(path, ignored) ? path : path.parent_path();
  return fs::equivalent(place.empty() ? "." : place, folder, ignored);
}

}  // namespace

RunFolder::RunFolder(fs::path path) : path_(std::move(path)), folder_(path_), lock_(path_) {
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
  if (!aside_.empty()) {
    fs::rename(aside_, snapshot_, ignored);
  }
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
}

void RunFolder::set_aside(const fs::path& snapshot) {
  find_snapshot(snapshot);  // what a kill left of earlier ones
  if (!fs::exists(snapshot)) {
    return;
  }
  const fs::path aside = fmt::format("{}.old-{}", snapshot.string(), ::getpid());
  std::error_code failed;
  fs::rename(snapshot, aside, failed);
  if (failed) {
    throw Error(ErrorCode::io,
                fmt::format("{}: cannot be renamed ({}).", snapshot.string(), failed.message()));
  }
  snapshot_ = snapshot;
  aside_ = aside;
}

void RunFolder::keep() {
  keep_ = true;
  std::error_code ignored;
  fs::remove_all(aside_, ignored);
  folder_.keep();
}

void check_run_space(const fs::path& folder, const ModelFolderContents& model, bool snapshot) {
  constexpr size_t kSnapshotValue = 3 * sizeof(float);
  uint64_t bytes = 0;
  for (const ParameterInfo& info : model.parameters) {
    bytes += static_cast<uint64_t>(info.size()) *
             (size_of(model.type) + (snapshot ? kSnapshotValue : 0));
  }
  std::error_code failed;
  const fs::space_info space = fs::space(folder, failed);
  const bool is_known = !failed && space.capacity > 0;  // some network folders do not say
  if (!is_known || space.available >= bytes) {
    return;
  }
  constexpr double kMegabyte = 1e6;
  throw Error(ErrorCode::io,
              fmt::format("--out {}: its disk has {:.1f} MB free, and the run writes {:.1f} MB "
                          "(model and snapshot). Make room, or give a folder on another disk.",
                          folder.string(), static_cast<double>(space.available) / kMegabyte,
                          static_cast<double>(bytes) / kMegabyte));
}

void check_run_folder(const RunFolderUse& use) {
  const std::string out = use.out.string();
  if (fs::exists(use.out) && !fs::is_directory(use.out)) {
    throw Error(ErrorCode::usage, fmt::format("--out {}: is not a folder.", out));
  }
  const FolderLock free(use.out);  // find_snapshot() would meddle with what another run writes
  if (use.resume && !find_snapshot(use.out / "snapshot")) {
    throw Error(ErrorCode::usage,
                fmt::format("--resume: {} holds no snapshot to go on from (nor does it after a "
                            "finished run).",
                            out));
  }
  const bool own = use.own_weights && is_own(use.model, use.out);
  if (!use.resume && !own && lies_in(use.model, use.out)) {
    throw Error(ErrorCode::usage,
                fmt::format("--out {}: is where the model to begin from lies ({}). Give another "
                            "folder.",
                            out, use.model.string()));
  }
  if (use.resume || use.overwrite) {
    return;
  }
  if (use.overwrite_finished) {
    if (find_snapshot(use.out / "snapshot")) {
      throw Error(ErrorCode::usage,
                  fmt::format("--out {}: holds the snapshot of a run that was stopped. Give "
                              "--resume to go on with it, or --overwrite to begin anew.",
                              out));
    }
    return;
  }
  if (fs::exists(use.out) && !fs::is_empty(use.out)) {
    throw Error(ErrorCode::usage,
                fmt::format("--out {}: is not empty. Give another folder, --resume to go on with "
                            "the run in it, or --overwrite to begin anew.",
                            out));
  }
}

}  // namespace bertrand
