#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "commands.h"
#include "common.h"
#include "engine/cpu/cpu_engine.h"
#include "measure/measure.h"
#include "train/machine.h"

namespace bertrand::cli {
namespace {

using Json = nlohmann::ordered_json;
using measure::Result;
using measure::Work;

struct Flags {
  std::string model = "all";
  std::vector<std::string> work;
  std::string precision = "all";
  unsigned threads = 0;
  bool quick = false;
  bool json = false;
};

struct NamedConfig {
  const char* name;
  BertConfig (*make)();
};
constexpr std::array kModels = {NamedConfig{"minilm", measure::mini_lm},
                                NamedConfig{"bert-base", measure::bert_base}};

/// A row of the table: one work, and what it came to.
struct Row {
  const NamedConfig* model = nullptr;
  Precision precision = Precision::fp32;
  Work work = Work::inference;
  unsigned threads = 0;
  Result result;

  bool trains() const { return work == Work::training || work == Work::training_4; }
  bool latency() const { return work == Work::latency_128 || work == Work::latency_384; }
};

/// Seconds of the whole of SQuAD v1.1 at the speed of this row: the development set for inference,
/// an epoch for training.
double squad_seconds(const Row& row) {
  const BertConfig config = row.model->make();
  const double work = row.trains() ? 3 * useful_work(config, measure::kSquadTrain)
                                   : useful_work(config, measure::kSquadDev);
  return work / row.result.gflops;
}

/// What `auto` stands for, for the shapes of a model.
struct AutoPrecision {
  const NamedConfig* model = nullptr;
  Precision answers = Precision::fp32;
  Precision training = Precision::fp32;
};

/// "6 h 12 min", "12 min 5 s" or "48 s".
std::string duration_text(double seconds) {
  const auto whole = std::max(1L, std::lround(seconds));
  if (whole >= 3600) return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
  if (whole >= 60) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} s", whole);
}

Json to_json(const Row& row) {
  const Result& result = row.result;
  Json json = {{"work", measure::name_of(row.work)},
               {"model", row.model->name},
               {"precision", name_of(row.precision)},
               {"threads", row.threads},
               {"fraction", result.fraction},
               {"windows_per_second", result.windows_per_second},
               {"gflops", result.gflops},
               {"product_gflops", result.rates.product},
               {"fma_gflops", result.rates.fma},
               {"void", !result.valid}};
  if (row.work == Work::scaling) {
    json["scaling"] = result.scaling;
  } else if (row.latency()) {
    json["median_seconds"] = result.latency.median;
    json["percentile_99_seconds"] = result.latency.percentile_99;
    json["machine_excess_seconds"] = result.latency.machine_excess;
  } else {
    json[row.work == Work::inference ? "squad_dev_seconds" : "squad_epoch_seconds"] =
        squad_seconds(row);
  }
  return json;
}

void print_json(const std::vector<Row>& rows, const std::vector<AutoPrecision>& choices,
                unsigned threads) {
  const Machine machine = this_machine();
  Json json = {{"version", BERTRAND_VERSION}, {"processor", machine.processor},
               {"threads", threads},          {"date", utc_time()},
               {"auto", Json::object()},      {"rows", Json::array()}};
  for (const AutoPrecision& choice : choices) {
    json["auto"][choice.model->name] = {{"answers", name_of(choice.answers)},
                                        {"training", name_of(choice.training)}};
  }
  for (const Row& row : rows) json["rows"].push_back(to_json(row));
  print_result(json.dump() + "\n");
}

std::string latency_text(const Row& row) {
  std::string text;
  const measure::Latency& latency = row.result.latency;
  text += fmt::format("{}, {}, {}: median {:.2f} ms, 99th percentile {:.2f} ms,\n", row.model->name,
                      name_of(row.precision), measure::name_of(row.work), latency.median * 1e3,
                      latency.percentile_99 * 1e3);
  text += fmt::format("  {:.2f} x the median without the {:.2f} ms that are the machine's own\n",
                      latency.spread(), latency.machine_excess * 1e3);
  return text;
}

std::string squad_text(const Row& row) {
  return fmt::format("SQuAD v1.1, {}, {}, {}: {}, about {}\n", row.model->name,
                     name_of(row.precision), measure::name_of(row.work),
                     row.trains() ? "one epoch" : "development set",
                     duration_text(squad_seconds(row)));
}

std::string scaling_text(const Row& row) {
  return fmt::format("Threads, {}: the share of R on {} threads is {:.2f} x that on one.\n",
                     row.model->name, row.threads, row.result.scaling);
}

std::string auto_text(const AutoPrecision& choice) {
  return fmt::format("--precision auto, {}: {} for answers, {} for training.\n", choice.model->name,
                     name_of(choice.answers), name_of(choice.training));
}

/// At most 80 columns.
std::string table_text(const std::vector<Row>& rows, const std::vector<AutoPrecision>& choices,
                       unsigned threads) {
  std::string text;
  const std::string processor = this_machine().processor;
  text += fmt::format("{:.60}, {} thread{}; rates in GFLOP/s\n\n",
                      processor.empty() ? "Unknown processor" : processor, threads,
                      threads == 1 ? "" : "s");
  text += fmt::format("{:<10}{:<10}{:<13}{:>9}{:>9}{:>8}{:>8}  {:>10}\n", "model", "precision",
                      "work", "windows/s", "GFLOP/s", "R", "FMA", "fraction");
  bool all_valid = true;
  for (const Row& row : rows) {
    const Result& result = row.result;
    const std::string fraction = fmt::format("{:.1f} %", result.fraction * 100);
    text += fmt::format("{:<10}{:<10}{:<13}{:>9.2f}{:>9.1f}{:>8.1f}{:>8.1f}  {:>10}\n",
                        row.model->name, name_of(row.precision), measure::name_of(row.work),
                        result.windows_per_second, result.gflops, result.rates.product,
                        result.rates.fma, result.valid ? fraction : "void");
    all_valid = all_valid && result.valid;
  }
  text += fmt::format(
      "\nR: the best matrix product. FMA: multiply-adds on registers. fraction: of R.\n");
  if (!all_valid) {
    text += fmt::format(
        "void: R is below {:.0f} % of FMA, so something else held the processor back;\n"
        "  measure again with nothing else running.\n",
        measure::kLeastShare * 100);
  }
  for (const Row& row : rows) {
    if (row.latency()) text += latency_text(row);
  }
  for (const Row& row : rows) {
    if (!row.latency() && row.work != Work::scaling) text += squad_text(row);
  }
  for (const Row& row : rows) {
    if (row.work == Work::scaling) text += scaling_text(row);
  }
  for (const AutoPrecision& choice : choices) text += auto_text(choice);
  return text;
}

/// For the models that are measured.
std::vector<AutoPrecision> auto_precisions(const Flags& flags, unsigned threads) {
  std::vector<AutoPrecision> choices;
  for (const NamedConfig& model : kModels) {
    if (flags.model != "all" && flags.model != model.name) continue;
    const auto choose = [&](Purpose purpose) {
      return fastest_cpu_precision(model.make(), threads, purpose).precision;
    };
    choices.push_back({&model, choose(Purpose::answers), choose(Purpose::training)});
  }
  return choices;
}

/// Whether the flags ask for a row, which this CPU can compute.
bool wanted(const Row& row, const AutoPrecision& choice, const Flags& flags) {
  const auto able = measure::precisions(row.work);
  if (std::find(able.begin(), able.end(), row.precision) == able.end()) return false;
  const Precision fastest = row.trains() ? choice.training : choice.answers;
  if (flags.precision == "auto"
          ? row.precision != fastest
          : flags.precision != "all" && flags.precision != name_of(row.precision)) {
    return false;
  }
  if (row.work == Work::scaling && row.threads < 2) return false;
  if (flags.work.empty()) {
    // Batches of 4 are there for the large model, whose optimizer weighs; else on request.
    return row.work != Work::training_4 || row.model->make == measure::bert_base;
  }
  const std::string name = measure::name_of(row.work);
  return std::find(flags.work.begin(), flags.work.end(), name) != flags.work.end();
}

/// The rows that the flags ask for, not yet measured.
std::vector<Row> wanted_rows(const Flags& flags, const std::vector<AutoPrecision>& choices,
                             unsigned threads) {
  std::vector<Row> rows;
  for (const AutoPrecision& choice : choices) {
    for (const Precision precision : {Precision::fp32, Precision::bf16, Precision::int8}) {
      for (const Work work : measure::all_work()) {
        const Row row = {choice.model, precision, work, threads, {}};
        if (wanted(row, choice, flags)) rows.push_back(row);
      }
    }
  }
  return rows;
}

void bench(const Flags& flags) {
  const unsigned threads = chosen_threads(flags.threads);
  const std::vector<AutoPrecision> choices = auto_precisions(flags, threads);
  std::vector<Row> rows = wanted_rows(flags, choices, threads);
  if (rows.empty()) {
    throw Error(ErrorCode::usage,
                "There is nothing to measure: bf16 needs a CPU that has it, int8 does not train, "
                "and scaling is that of fp32 on two threads or more; leave --precision out to "
                "measure all there is.");
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    Row& row = rows[i];
    spdlog::info("Measuring {} of {} in {} ({} of {}).", measure::name_of(row.work),
                 row.model->name, name_of(row.precision), i + 1, rows.size());
    row.result =
        measure::measure(row.model->make(), row.work, {threads, row.precision, flags.quick});
  }
  if (flags.json) {
    print_json(rows, choices, threads);
  } else {
    print_result(table_text(rows, choices, threads));
  }
}

std::vector<std::string> work_names() {
  std::vector<std::string> names;
  for (const Work work : measure::all_work()) names.emplace_back(measure::name_of(work));
  return names;
}

}  // namespace

void add_bench(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "bench", "Measure this machine: speed, as a share of what its processor can do");
  const auto flags = std::make_shared<Flags>();
  command->add_option("--model", flags->model, "Shape of the model, with random weights")
      ->check(CLI::IsMember({"minilm", "bert-base", "all"}))
      ->type_name("")
      ->capture_default_str();
  command->add_option("--work", flags->work, "What to measure, separated by commas [all]")
      ->check(CLI::IsMember(work_names()))
      ->delimiter(',')
      ->type_name("");
  command->add_option("--precision", flags->precision, "What matrix products are computed in")
      ->check(CLI::IsMember({"auto", "fp32", "bf16", "int8", "all"}))
      ->type_name("")
      ->capture_default_str();
  add_threads_flag(*command, flags->threads);
  command->add_flag("--quick", flags->quick,
                    "Seconds instead of minutes: shows that it works; its figures mean little");
  command->add_flag("--json", flags->json, "Print one JSON object with an array of rows");
  command->callback([flags] { bench(*flags); });
}

}  // namespace bertrand::cli
