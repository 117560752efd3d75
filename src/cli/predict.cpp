#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include "answering.h"
#include "base/error.h"
#include "base/files.h"
#include "commands.h"

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
  while (!is_there(existing) && existing.has_relative_path()) {
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

void predict_file(const CLI::App& command, const Flags& flags) {
  check_out(flags.out);
  const Dataset dataset = Dataset::load(flags.data);
  const std::vector<Prediction> predictions = answer_all(command, flags.answering, dataset);
  write_answers(flags.out, dataset, predictions, may_have_no_answer(flags.answering, dataset));
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
