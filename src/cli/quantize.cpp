#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "checkpoint/model_folder.h"
#include "commands.h"
#include "common.h"
#include "model/parameters.h"

namespace bertrand::cli {
namespace {

namespace fs = std::filesystem;

struct Flags {
  fs::path in;
  fs::path out;
  std::optional<bool> lower_case;
};

/// The model with 8-bit weights, whole in `out` or not there at all.
void write_quantized(const ModelFolder& model, bool lower_case, const fs::path& out) {
  ModelFolderContents contents;
  contents.config = model.config();
  contents.vocabulary = model.vocabulary_path();
  contents.lower_case = lower_case;
  contents.type = DataType::i8;
  contents.parameters = bert_parameters(model.config());
  contents.store_parameters = [&](const ParameterWriter& write) {
    const ParameterReader read = model.parameters(/*seed=*/0);
    std::vector<float> values;
    for (const ParameterInfo& info : contents.parameters) {
      values.resize(static_cast<size_t>(info.size()));
      read(info, values);
      write(info, values);
    }
  };
  write_model_folder(out, contents);
}

void run(const Flags& flags) {
  const ModelFolder model = ModelFolder::open(flags.in);
  if (model.lacks_head()) {
    throw Error(ErrorCode::bad_input, flags.in.string() +
                                          ": has no span head (qa_outputs), so it answers no "
                                          "questions; fine-tune it with bertrand train first.");
  }
  std::error_code error;
  if (fs::exists(flags.out, error) && !fs::is_empty(flags.out, error)) {
    throw Error(ErrorCode::usage,
                flags.out.string() + ": is there already; give a new folder, or remove it.");
  }
  const bool is_new = fs::create_directories(flags.out, error);
  if (error) {
    throw Error(ErrorCode::io,
                fmt::format("{}: cannot be made ({}).", flags.out.string(), error.message()));
  }
  const bool lower_case = flags.lower_case.value_or(model.lower_case().value_or(true));
  try {
    write_quantized(model, lower_case, flags.out);
  } catch (...) {
    for (const fs::directory_entry& left : fs::directory_iterator(flags.out)) {
      fs::remove(left, error);
    }
    if (is_new) fs::remove(flags.out, error);
    throw;
  }
  for (const std::string& note : model.notes()) spdlog::info("{}.", note);
  const auto size = [](const fs::path& folder) {
    std::error_code none;
    const uintmax_t bytes = fs::file_size(folder / "model.safetensors", none);
    return none ? "" : fmt::format(" ({} bytes)", bytes);
  };
  print_result(fmt::format("{}{}: 8-bit weights of {}{}\n", flags.out.string(), size(flags.out),
                           flags.in.string(), size(flags.in)));
}

}  // namespace

void add_quantize(CLI::App& app) {
  const auto flags = std::make_shared<Flags>();
  CLI::App& command = *app.add_subcommand(
      "quantize", "Write a model with 8-bit weights: a quarter of the size, for --precision int8");
  command.add_option("MODEL", flags->in, "Folder of a fine-tuned model")->required();
  command.add_option("OUT", flags->out, "Folder to write")->required();
  add_case_flags(command, flags->lower_case);
  command.callback([flags] { run(*flags); });
}

}  // namespace bertrand::cli
