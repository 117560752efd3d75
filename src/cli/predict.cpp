#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include "answering.h"
#include "base/error.h"
#include "base/files.h"
#include "commands.h"
#include "squad/predictions.h"

namespace bertrand::cli {
namespace {

namespace fs = std::filesystem;

struct Flags {
  fs::path data, out;
  AnsweringFlags answering;
};

/// Says at once, not after an hour's work, that `out` cannot be written to. Writes nothing.
void check_out(const fs::path& out) {
  std::error_code ignored;
  fs::path existing = fs::absolute(out);
  while (!fs::exists(existing, ignored) && existing.has_relative_path()) {
    existing = existing.parent_path();
  }
  if (!fs::is_directory(existing, ignored)) {
    throw Error(ErrorCode::usage, "--out " + out.string() + ": " + existing.string() +
                                      " is not a folder; give another one.");
  }
  if (::access(existing.c_str(), W_OK) != 0) {
    throw Error(ErrorCode::io,
                "--out " + out.string() + ": cannot be written to (" + std::strerror(errno) + ").");
  }
}

/// All files or none appear, and `out` only with them.
void write_files(const fs::path& out, const Dataset& dataset,
                 const std::vector<Prediction>& predictions, bool with_no_answer_scores) {
  NewFolder folder(out);
  AtomicFile best(out / "predictions.json");
  write_predictions(best, dataset, predictions);
  AtomicFile n_best(out / "nbest_predictions.json");
  write_n_best(n_best, dataset, predictions);
  std::optional<AtomicFile> scores;
  if (with_no_answer_scores) {
    scores.emplace(out / "null_odds.json");
    write_no_answer_scores(*scores, dataset, predictions);
  }
  best.flush();
  n_best.flush();
  if (scores) scores->flush();
  n_best.commit();
  if (scores) scores->commit();
  best.commit();
  folder.keep();
}

void predict_file(const CLI::App& command, const Flags& flags) {
  check_out(flags.out);
  const Dataset dataset = Dataset::load(flags.data);
  const std::vector<Prediction> predictions = answer_all(command, flags.answering, dataset);
  write_files(flags.out, dataset, predictions, may_have_no_answer(flags.answering, dataset));
  spdlog::info("The answers to {} questions are in {}.", predictions.size(), flags.out.string());
}

}  // namespace

void add_predict(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "predict", "Answer the questions of a SQuAD file: predictions.json, nbest_predictions.json");
  const auto flags = std::make_shared<Flags>();
  command->add_option("--data", flags->data, "SQuAD file (JSON), v1.1 or v2.0; answers not needed")
      ->required()
      ->type_name("FILE");
  command->add_option("--out", flags->out, "Folder for the files")->required()->type_name("FOLDER");
  add_answering_flags(*command, flags->answering);
  command->callback([command, flags] { predict_file(*command, *flags); });
}

}  // namespace bertrand::cli
