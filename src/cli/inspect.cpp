#include "checkpoint/inspect.h"

#include <algorithm>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "commands.h"
#include "common.h"

namespace bertrand::cli {
namespace {

using nlohmann::ordered_json;

struct Flags {
  std::filesystem::path path;
  bool json = false;
  bool check = false;
};

struct Totals {
  int64_t elements = 0;
  uint64_t bytes = 0;
};

Totals totals_of(const std::vector<TensorInfo>& tensors) {
  Totals totals;
  for (const TensorInfo& tensor : tensors) {
    totals.elements += tensor.size();
    totals.bytes += tensor.bytes();
  }
  return totals;
}

ordered_json as_json(const std::vector<TensorInfo>& tensors) {
  ordered_json list = ordered_json::array();
  for (const TensorInfo& tensor : tensors) {
    list.push_back({{"name", tensor.name},
                    {"dtype", name_of(tensor.type)},
                    {"shape", tensor.shape},
                    {"bytes", tensor.bytes()}});
  }
  return list;
}

std::string as_json(const Inspection& found, const Flags& flags) {
  ordered_json files = ordered_json::array();
  for (const auto& file : found.files) {
    files.push_back({{"path", file.path.string()}, {"bytes", file.bytes}});
  }
  const Totals totals = totals_of(found.tensors);
  ordered_json json = {{"path", flags.path.string()}, {"kind", found.kind}, {"files", files}};
  json["config"] = found.config ? ordered_json::parse(found.config->to_json()) : ordered_json();
  json["has_span_head"] = found.config ? ordered_json(found.has_span_head) : ordered_json();
  if (!found.training.empty()) json["training"] = ordered_json::parse(found.training);
  json["totals"] = {
      {"tensors", found.tensors.size()}, {"elements", totals.elements}, {"bytes", totals.bytes}};
  json["tensors"] = as_json(found.tensors);
  json["others"] = as_json(found.others);
  json["notes"] = found.notes;
  json["problems"] = found.problems;
  return json.dump(2, ' ', /*ensure_ascii=*/false, ordered_json::error_handler_t::replace) + "\n";
}

std::string lines_of(const std::vector<TensorInfo>& tensors) {
  std::string text;
  for (const TensorInfo& tensor : tensors) {
    text += fmt::format("{:<4} {:<14} {:>11}  {}\n", name_of(tensor.type), shape_text(tensor.shape),
                        tensor.bytes(), printable(tensor.name));
  }
  return text;
}

std::string config_line(const BertConfig& config) {
  return fmt::format("{} layers, hidden {}, {} heads, intermediate {}, vocabulary {}, {} positions",
                     config.num_hidden_layers, config.hidden_size, config.num_attention_heads,
                     config.intermediate_size, config.vocab_size, config.max_position_embeddings);
}

std::string as_text(const Inspection& found) {
  std::string text = fmt::format("kind      {}\n", found.kind);
  for (const auto& file : found.files) {
    text += fmt::format("file      {} ({} bytes)\n", file.path.string(), file.bytes);
  }
  if (found.config) text += fmt::format("config    {}\n", config_line(*found.config));
  if (!found.training.empty()) {
    const auto training = ordered_json::parse(found.training);
    if (training.contains("steps") && training["steps"].is_number_unsigned()) {
      text += fmt::format("snapshot  after {} steps\n", training["steps"].dump());
    }
  }
  const Totals totals = totals_of(found.tensors);
  text += fmt::format("total     {} tensors, {} elements, {} bytes\n", found.tensors.size(),
                      totals.elements, totals.bytes);
  text += "\n" + lines_of(found.tensors);
  if (!found.others.empty()) {
    text += fmt::format("\nBeside the model: {} tensors, {} bytes\n", found.others.size(),
                        totals_of(found.others).bytes);
    text += lines_of(found.others);
  }
  if (!found.notes.empty()) text += "\n";
  for (const std::string& note : found.notes) text += note + "\n";
  if (!found.problems.empty()) text += "\nProblems:\n";
  for (const std::string& problem : found.problems) text += "  " + problem + "\n";
  return text;
}

void run(const Flags& flags) {
  const Inspection found = inspect(flags.path, flags.check);
  print_result(flags.json ? as_json(found, flags) : as_text(found));
  if (!found.problems.empty()) {
    throw Error(ErrorCode::bad_input,
                fmt::format("{}: has {} problem{}, listed above.", flags.path.string(),
                            found.problems.size(), found.problems.size() == 1 ? "" : "s"));
  }
}

}  // namespace

void add_inspect(CLI::App& app) {
  const auto flags = std::make_shared<Flags>();
  CLI::App& command =
      *app.add_subcommand("inspect", "Show what a checkpoint, a model folder or a snapshot holds");
  command.add_option("PATH", flags->path, "A file, a folder, or a TensorFlow prefix")->required();
  command.add_flag("--json", flags->json, "One JSON object");
  command.add_flag("--check", flags->check,
                   "Read all values: compare checksums, and look for NaN and infinity");
  command.callback([flags] { run(*flags); });
}

}  // namespace bertrand::cli
