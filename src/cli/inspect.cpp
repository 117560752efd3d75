#include "checkpoint/inspect.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/vocabulary_file.h"
#include "commands.h"
#include "common.h"
#include "predict/model_tokenizer.h"
#include "train/progress.h"

namespace bertrand::cli {
namespace {

using nlohmann::ordered_json;

struct Flags {
  std::filesystem::path path;
  bool json = false;
  bool check = false;
};

/// Standard output, block by block: a small file can give cause for very much text.
class Output {
 public:
  void add(std::string_view text) {
    constexpr size_t kBlock = 1 << 16;
    text_ += text;
    if (text_.size() >= kBlock) flush();
  }
  void flush() {
    print_result(text_);
    text_.clear();
  }

 private:
  std::string text_;
};

using Tensors = std::vector<TensorInfo>;

struct Totals {
  int64_t elements = 0;
  uint64_t bytes = 0;
};

/// What a damaged file claims may be more than can be counted, and is then the largest number.
Totals totals_of(const Tensors& tensors) {
  Totals totals;
  for (const TensorInfo& tensor : tensors) {
    if (__builtin_add_overflow(totals.elements, tensor.size(), &totals.elements)) {
      totals.elements = std::numeric_limits<int64_t>::max();
    }
    if (__builtin_add_overflow(totals.bytes, tensor.bytes(), &totals.bytes)) {
      totals.bytes = std::numeric_limits<uint64_t>::max();
    }
  }
  return totals;
}

/// Tensors beside the model: those in the file, and those of a snapshot's optimizer.
std::vector<const Tensors*> others_of(const Inspection& found) {
  std::vector<const Tensors*> lists = {&found.weights->others()};
  if (found.optimizer) lists.push_back(&found.optimizer->tensors());
  return lists;
}

std::string json_text(const ordered_json& value) {
  return value.dump(2, ' ', /*ensure_ascii=*/false, ordered_json::error_handler_t::replace);
}

/// ,"name": [...], a tensor a line.
void add_json(Output& out, const char* name, const std::vector<const Tensors*>& lists) {
  out.add(fmt::format(",\n  \"{}\": [", name));
  const char* before = "\n";
  for (const Tensors* tensors : lists) {
    for (const TensorInfo& tensor : *tensors) {
      out.add(fmt::format(R"({}    {{"name": {}, "dtype": "{}", "shape": {}, "bytes": {}}})",
                          before, json_text(tensor.name), name_of(tensor.type),
                          shape_text(tensor.shape), tensor.bytes()));
      before = ",\n";
    }
  }
  out.add("\n  ]");
}

void print_json(const Inspection& found, const Flags& flags) {
  ordered_json files = ordered_json::array();
  for (const auto& file : found.files) {
    files.push_back({{"path", file.path.string()}, {"bytes", file.bytes}});
  }
  const Tensors& tensors = found.weights->tensors();
  const Totals totals = totals_of(tensors);
  ordered_json json = {{"path", flags.path.string()},
                       {"kind", found.weights->kind()},
                       {"format", found.weights->format()},
                       {"files", files}};
  json["config"] = found.config ? ordered_json::parse(found.config->to_json()) : ordered_json();
  json["has_span_head"] = found.config ? ordered_json(found.has_span_head) : ordered_json();
  if (!found.training.empty()) json["training"] = nlohmann::json::parse(found.training);
  json["totals"] = {
      {"tensors", tensors.size()}, {"elements", totals.elements}, {"bytes", totals.bytes}};
  json["notes"] = found.notes.lines();
  json["problems"] = found.problems.lines();
  std::string text = json_text(json);
  text.resize(text.size() - 2);  // the end of the object, "\n}"
  Output out;
  out.add(text);
  add_json(out, "tensors", {&tensors});
  add_json(out, "others", others_of(found));
  out.add("\n}\n");
  out.flush();
}

/// A name in so many columns: what is left out is in the middle, for both ends tell most.
std::string fitted(const std::string& name, size_t columns) {
  constexpr std::string_view kGap = "...";
  if (name.size() <= columns) return name;
  const size_t kept = std::max(columns, kGap.size() + 2) - kGap.size();
  return name.substr(0, kept / 2) + std::string(kGap) + name.substr(name.size() - (kept + 1) / 2);
}

void add_lines(Output& out, const Tensors& tensors, size_t columns) {
  for (const TensorInfo& tensor : tensors) {
    const std::string begin = fmt::format("{:<4} {:<14} {:>11}  ", name_of(tensor.type),
                                          shape_text(tensor.shape), tensor.bytes());
    const size_t left = columns - std::min(columns, begin.size());
    out.add(begin + fitted(printable(tensor.name), left) + "\n");
  }
}

std::string config_line(const BertConfig& config) {
  return fmt::format("{} layers, hidden {}, {} heads, intermediate {}, vocabulary {}, {} positions",
                     config.num_hidden_layers, config.hidden_size, config.num_attention_heads,
                     config.intermediate_size, config.vocab_size, config.max_position_embeddings);
}

void add_head(Output& out, const Inspection& found) {
  out.add(fmt::format("kind      {}\n", found.weights->kind()));
  for (const auto& file : found.files) {
    out.add(fmt::format("file      {} ({} bytes)\n", file.path.string(), file.bytes));
  }
  if (found.config) out.add(fmt::format("config    {}\n", config_line(*found.config)));
  if (!found.training.empty()) {
    const auto training = nlohmann::json::parse(found.training);
    if (training.contains("steps") && training["steps"].is_number_unsigned()) {
      out.add(fmt::format("snapshot  after {} steps\n", training["steps"].get<uint64_t>()));
    }
  }
  const Tensors& tensors = found.weights->tensors();
  const Totals totals = totals_of(tensors);
  out.add(fmt::format("total     {} tensors, {} elements, {} bytes\n", tensors.size(),
                      totals.elements, totals.bytes));
}

void print_text(const Inspection& found) {
  const size_t columns = ::isatty(STDOUT_FILENO) != 0 ? terminal_columns(stdout) : SIZE_MAX;
  Output out;
  add_head(out, found);
  out.add("\n");
  add_lines(out, found.weights->tensors(), columns);
  for (const Tensors* others : others_of(found)) {
    if (others->empty()) continue;
    out.add(fmt::format("\nBeside the model: {} tensors, {} bytes\n", others->size(),
                        totals_of(*others).bytes));
    add_lines(out, *others, columns);
  }
  if (found.notes.count() > 0) out.add("\n");
  for (const std::string& note : found.notes.lines()) out.add(note + "\n");
  if (found.problems.count() > 0) out.add("\nProblems:\n");
  for (const std::string& problem : found.problems.lines()) out.add("  " + problem + "\n");
  out.flush();
}

/// The vocabulary of a folder is read as the commands that ask the model read it.
void look_at_vocabulary(Inspection& found) {
  const std::filesystem::path vocabulary = find_vocabulary(found.folder);
  if (found.folder.empty() || !is_there(vocabulary)) return;
  try {
    check_vocabulary(vocabulary, found.config ? &*found.config : nullptr);
  } catch (const Error& error) {
    found.problems.add(error.what());
  }
}

void run(const Flags& flags) {
  Inspection found = inspect(flags.path, flags.check);
  look_at_vocabulary(found);
  if (flags.json) {
    print_json(found, flags);
  } else {
    print_text(found);
  }
  if (const size_t count = found.problems.count(); count > 0) {
    throw Error(ErrorCode::bad_input,
                fmt::format("{}: has {} problem{}, listed above.", flags.path.string(), count,
                            count == 1 ? "" : "s"));
  }
}

}  // namespace

void add_inspect(CLI::App& app) {
  const auto flags = std::make_shared<Flags>();
  CLI::App& command =
      *app.add_subcommand("inspect", "Show what a checkpoint, a model folder or a snapshot holds");
  command
      .add_option("PATH", flags->path,
                  "A file, a folder (of a run that is not complete: its snapshot), or a TensorFlow "
                  "prefix")
      ->required();
  command.add_flag("--json", flags->json, "One JSON object");
  command.add_flag("--check", flags->check,
                   "Read all values of the model, and of the optimizer in a snapshot: compare "
                   "checksums, and look for NaN and infinity");
  command.callback([flags] { run(*flags); });
}

}  // namespace bertrand::cli
