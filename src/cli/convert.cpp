#include "checkpoint/convert.h"

#include <cctype>
#include <cstdlib>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "base/files.h"
#include "commands.h"
#include "common.h"
#include "predict/model_tokenizer.h"
#include "progress.h"
#include "signal_catcher.h"

namespace bertrand::cli {
namespace {

struct Flags {
  ConvertOptions options;
  std::filesystem::path reference_in;
  std::filesystem::path reference_config;
  std::filesystem::path reference_out;
  std::string format;
  std::string type;
  std::string heads = "all";
};

unsigned char to_byte(char letter) { return static_cast<unsigned char>(letter); }

/// The format that a file's name asks for; empty where it is the name of a folder.
std::string format_of(const std::filesystem::path& path) {
  std::string ending = path.extension().string();
  for (char& letter : ending) letter = static_cast<char>(std::tolower(to_byte(letter)));
  if (ending == ".safetensors") return "safetensors";
  if (ending == ".onnx") return "onnx";
  if (ending == ".bin" || ending == ".pt" || ending == ".pth") return "pytorch";
  return "";
}

/// The reference's script writes one file for PyTorch, whatever its name.
void take_reference_flags(Flags& flags) {
  ConvertOptions& options = flags.options;
  if (options.config.empty()) options.config = flags.reference_config;
  const bool given = !flags.reference_in.empty() || !flags.reference_out.empty();
  if (!given) return;
  if (!options.in.empty() || flags.reference_in.empty() || flags.reference_out.empty()) {
    throw Error(ErrorCode::usage,
                "Give either IN and OUT or both --tf_checkpoint_path and --pytorch_dump_path.");
  }
  options.in = flags.reference_in;
  options.out = flags.reference_out;
  if (flags.format.empty()) flags.format = "pytorch";
  std::error_code ignored;
  options.single_file = !std::filesystem::is_directory(options.out, ignored);
}

/// A copy of `from` as `to`, unless something else is there already.
void put_beside(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (!is_there(from)) return;
  const std::string text = read_file(from);
  if (!is_there(to)) {
    write_file(to, text);
    spdlog::info("{} goes with the weights: a copy of {}.", to.string(), from.string());
  } else if (read_file(to) != text) {
    spdlog::warn("{} stays as it is, and is not the same as {}.", to.string(), from.string());
  }
}

/// Whether what lies beside the checkpoint is a vocabulary; a warning where it is not.
bool is_vocabulary(const std::filesystem::path& path) {
  try {
    const MappedFile again(path);  // a pipe was read to its end before the conversion
    check_vocabulary(path, /*config=*/nullptr);
    return true;
  } catch (const Error& error) {
    spdlog::warn("No vocabulary goes with the weights: {}", error.what());
    return false;
  }
}

/// What run_squad looks for beside the weights that the reference's flags were given for.
void put_companions(const ConvertOptions& options) {
  std::error_code ignored;
  const bool is_folder = std::filesystem::is_directory(options.in, ignored);
  const std::filesystem::path from = is_folder ? options.in : options.in.parent_path();
  const std::filesystem::path to = options.out.parent_path();
  const std::filesystem::path config =
      options.config.empty() ? from / "bert_config.json" : options.config;
  const std::filesystem::path vocabulary =
      options.vocabulary.empty() ? from / "vocab.txt" : options.vocabulary;
  put_beside(config, to / "bert_config.json");
  if (is_there(vocabulary) && is_vocabulary(vocabulary)) {
    put_beside(vocabulary, to / "vocab.txt");
  }
}

void choose_format(Flags& flags) {
  ConvertOptions& options = flags.options;
  std::error_code ignored;
  const bool by_flags =
      !flags.reference_out.empty() || std::filesystem::is_directory(options.out, ignored);
  const std::string by_name = by_flags ? "" : format_of(options.out);
  if (!by_name.empty()) {
    options.single_file = true;
    if (!flags.format.empty() && flags.format != by_name) {
      throw Error(
          ErrorCode::usage,
          fmt::format("--to {}: {} has the name of a file for {}; give the name of a folder, "
                      "or leave --to out.",
                      flags.format, options.out.string(), by_name));
    }
    flags.format = by_name;
  }
  options.format = flags.format == "pytorch" ? WeightFormat::pytorch
                   : flags.format == "onnx"  ? WeightFormat::onnx
                                             : WeightFormat::safetensors;
}

/// Whoever names a file would not look for a folder. What follows the point of a version is none.
void tell_folder(const ConvertOptions& options) {
  const std::string ending = options.out.extension().string();
  if (options.single_file || ending.size() < 2 || std::isdigit(to_byte(ending[1])) != 0 ||
      is_there(options.out)) {
    return;
  }
  spdlog::info(
      "{} becomes a folder: one file of weights has a name that ends in .safetensors, .bin, .pt, "
      ".pth or .onnx.",
      options.out.string());
}

/// Flags that are about the files beside the weights.
void tell_flags_without_use(const Flags& flags) {
  const ConvertOptions& options = flags.options;
  if (!options.single_file) return;
  const std::string only = options.out.string() + " is one file of weights";
  if (!options.vocabulary.empty() && flags.reference_out.empty()) {
    spdlog::warn("--vocab does nothing here: {}; give a folder to have vocab.txt in it.", only);
  }
  if (options.lower_case) {
    spdlog::warn("--{} does nothing here: {}; give a folder to have tokenizer_config.json in it.",
                 *options.lower_case ? "uncased" : "cased", only);
  }
}

/// A signal ends the conversion, and what was written is removed.
ConvertReport convert_until_signal(const ConvertOptions& options) {
  bool stopped = false;
  {
    const SignalCatcher catcher(/*launched=*/false);
    CountProgress progress("MB");
    try {
      return convert(options, [&](uint64_t done, uint64_t all) {
        progress.show(static_cast<size_t>(done >> 20), static_cast<size_t>(all >> 20));
        stopped = SignalCatcher::caught() != 0;
        if (stopped) throw Error(ErrorCode::runtime, "Stopped by a signal.");
      });
    } catch (const Error&) {
      if (!stopped) throw;
    }
  }
  spdlog::warn("Stopped by signal {}: {} is not written.", SignalCatcher::caught(),
               options.out.string());
  std::exit(128 + SignalCatcher::caught());
}

void run(Flags& flags) {
  ConvertOptions& options = flags.options;
  take_reference_flags(flags);
  if (options.in.empty() || options.out.empty()) {
    throw Error(ErrorCode::usage,
                "Give what to convert and where to: bertrand convert IN OUT; see --help.");
  }
  choose_format(flags);
  if (!flags.type.empty()) {
    options.type = flags.type == "f16"    ? DataType::f16
                   : flags.type == "bf16" ? DataType::bf16
                                          : DataType::f32;
  }
  options.heads = flags.heads == "all"      ? Heads::all
                  : flags.heads == "pooler" ? Heads::pooler
                                            : Heads::none;
  options.check_vocabulary = [](const std::filesystem::path& path, const BertConfig& config) {
    check_vocabulary(path, &config);
  };
  tell_flags_without_use(flags);
  tell_folder(options);
  const ConvertReport report = convert_until_signal(options);
  for (const std::string& note : report.notes) spdlog::info("{}", note);
  if (!flags.reference_out.empty() && options.single_file) put_companions(options);
  print_result(fmt::format("{}: {} tensors, {} bytes, from {} ({})\n", options.out.string(),
                           report.tensors, report.bytes, options.in.string(), report.kind));
}

}  // namespace

void add_convert(CLI::App& app) {
  const auto flags = std::make_shared<Flags>();
  CLI::App& command = *app.add_subcommand(
      "convert", "Write a checkpoint of any kind as a model folder, for PyTorch or for ONNX");
  ConvertOptions& options = flags->options;
  command.add_option("IN", options.in,
                     "Checkpoint or folder: safetensors, PyTorch, or a TensorFlow 1 prefix");
  command.add_option(
      "OUT", options.out,
      "Folder to write, or one file of weights: NAME.safetensors, NAME.bin, NAME.pt, NAME.onnx");
  auto* config = command
                     .add_option("--config", options.config,
                                 "The model's config.json or bert_config.json [beside IN]")
                     ->type_name("FILE");
  command
      .add_option("--vocab", options.vocabulary,
                  "The model's vocabulary, for a folder [vocab.txt beside IN]")
      ->type_name("FILE");
  command.add_option("--to", flags->format, "Format of the weights [safetensors, or as OUT ends]")
      ->check(CLI::IsMember({"safetensors", "pytorch", "onnx"}))
      ->type_name("safetensors|pytorch|onnx");
  command.add_option("--dtype", flags->type, "Type of the weights written [as they are stored]")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->type_name("f32|f16|bf16");
  command
      .add_option("--heads", flags->heads,
                  "What to keep beside encoder and span head: the heads of other tasks and the "
                  "pooler, only the pooler, or nothing; ONNX has neither [all]")
      ->check(CLI::IsMember({"all", "pooler", "none"}))
      ->type_name("all|pooler|none");
  command.add_flag("--overwrite", options.overwrite,
                   "Replace the model that is in OUT, and what does not fit the new one");
  add_case_flags(command, options.lower_case);
  const char* group = "As the reference's script has them";
  command.add_option("--tf_checkpoint_path", flags->reference_in, "IN")
      ->type_name("FILE")
      ->group(group);
  command.add_option("--bert_config_file", flags->reference_config, "As --config")
      ->type_name("FILE")
      ->excludes(config)
      ->group(group);
  command
      .add_option(
          "--pytorch_dump_path", flags->reference_out,
          "OUT, a file for PyTorch whatever its name; vocab.txt and bert_config.json go beside "
          "it where they are not there")
      ->type_name("FILE")
      ->group(group);
  command.callback([flags] { run(*flags); });
}

}  // namespace bertrand::cli
