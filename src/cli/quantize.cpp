#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/model_folder.h"
#include "commands.h"
#include "common.h"
#include "model/parameters.h"
#include "predict/model_tokenizer.h"

namespace bertrand::cli {
namespace {

namespace fs = std::filesystem;

struct Flags {
  fs::path in;
  fs::path out;
  std::optional<bool> lower_case;
};

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
      if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); })) {
        throw Error(ErrorCode::bad_input,
                    fmt::format("{}: {} holds NaN or infinity, which 8-bit numbers cannot.",
                                model.path().string(), info.name));
      }
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
  if (std::error_code error; is_there(flags.out) && !fs::is_empty(flags.out, error)) {
    throw Error(ErrorCode::usage,
                flags.out.string() + ": is there already; give a new folder, or remove it.");
  }
  // Reads the vocabulary, too: a broken one is not passed on.
  const bool lower_case = load_tokenizer(model, flags.lower_case).lower_case;
  write_folder(flags.out,
               [&](const fs::path& partial) { write_quantized(model, lower_case, partial); });
  if (model.has_pooler()) spdlog::info("The pooler is left out: answers do not need it.");
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
