#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "base/files.h"
#include "base/thread_pool.h"
#include "checkpoint/model_folder.h"
#include "commands.h"
#include "engine/cpu/cpu_engine.h"
#include "predict/predictor.h"
#include "squad/dataset.h"
#include "squad/metrics.h"
#include "squad/windows.h"
#include "text/tokenizer.h"
#include "train/fingerprint.h"
#include "train/recipe.h"
#include "train/run.h"
#include "train/run_report.h"
#include "train/trainer.h"
#include "train/training_windows.h"

namespace bertrand::cli {
namespace {

namespace fs = std::filesystem;

struct Flags {
  fs::path model, train, dev, out;
  std::string recipe;  ///< empty: not given
  std::map<std::string, std::string> recipe_values;
  unsigned threads = 0;
  bool cased = false, uncased = false;
  bool resume = false, overwrite = false;
  std::string weights_type = "f32";
  RunOptions run;

  fs::path recipe_file() const { return out / "recipe.json"; }
  fs::path report_file() const { return out / "run.json"; }
  fs::path log_file() const { return out / "events.jsonl"; }
};

volatile std::sig_atomic_t caught_signal = 0;

/// Notes SIGINT and SIGTERM while it lives; a second one ends the program at once.
class SignalCatcher {
 public:
  SignalCatcher() {
    struct sigaction action {};
    action.sa_handler = [](int number) { caught_signal = number; };
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    ::sigaction(SIGINT, &action, &interrupt_);
    ::sigaction(SIGTERM, &action, &terminate_);
  }
  ~SignalCatcher() {
    ::sigaction(SIGINT, &interrupt_, nullptr);
    ::sigaction(SIGTERM, &terminate_, nullptr);
  }
  SignalCatcher(const SignalCatcher&) = delete;
  SignalCatcher& operator=(const SignalCatcher&) = delete;

 private:
  struct sigaction interrupt_ {};
  struct sigaction terminate_ {};
};

/// The folder may be written to: it is new or empty, or the user said what to do with what is in
/// it. Writes nothing.
void check_out(const Flags& flags) {
  if (fs::exists(flags.out) && !fs::is_directory(flags.out)) {
    throw Error(ErrorCode::usage, fmt::format("--out {}: is not a folder.", flags.out.string()));
  }
  if (flags.resume) {
    if (!find_snapshot(flags.run.snapshot)) {
      throw Error(ErrorCode::usage,
                  fmt::format("--resume: {} holds no snapshot to go on from (a finished run has "
                              "none either).",
                              flags.out.string()));
    }
    return;
  }
  if (!flags.overwrite && fs::exists(flags.out) && !fs::is_empty(flags.out)) {
    throw Error(ErrorCode::usage,
                fmt::format("--out {}: is not empty. Give another folder, --resume to go on with "
                            "the run in it, or --overwrite to begin anew.",
                            flags.out.string()));
  }
}

/// The named recipe, or that of the snapshot; then what the flags say.
Recipe chosen_recipe(const Flags& flags, const RunState* saved, const BertConfig& config) {
  Recipe recipe = saved != nullptr && (flags.recipe.empty() || flags.recipe == saved->recipe.name)
                      ? saved->recipe
                      : named_recipe(flags.recipe.empty() ? "modern" : flags.recipe, config);
  for (const auto& [field, text] : flags.recipe_values) {
    set_recipe_value(recipe, field, text);
  }
  check_recipe(recipe);
  return recipe;
}

bool lower_case(const Flags& flags, const ModelFolder& folder) {
  if (flags.cased || flags.uncased) {
    return flags.uncased;
  }
  if (!folder.lower_case()) {
    spdlog::warn(
        "{}: tokenizer_config.json does not say whether the model is cased; taking it as "
        "uncased (--cased or --uncased).",
        folder.path().string());
  }
  return folder.lower_case().value_or(true);
}

DataType weights_type(const std::string& name) {
  return name == "f16" ? DataType::f16 : name == "bf16" ? DataType::bf16 : DataType::f32;
}

void begin_folder(const Flags& flags) {
  std::error_code failed;
  fs::create_directories(flags.out, failed);
  if (failed) {
    throw Error(ErrorCode::io,
                fmt::format("{}: cannot be created ({}).", flags.out.string(), failed.message()));
  }
  if (flags.overwrite && !flags.resume) {
    fs::remove_all(flags.run.snapshot);
    for (const char* name : {"model.safetensors", "run.json", "recipe.json", "events.jsonl"}) {
      fs::remove(flags.out / name);
    }
  }
}

/// Answers all of `dev` with the trained engine.
void evaluate_dev(const Dataset& dev, const Tokenizer& tokenizer, Engine& engine,
                  const RunState& state, Progress& progress, RunReport& report) {
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  PredictOptions options;
  options.windows = state.recipe.window_options();
  options.answers.allow_no_answer = dev.has_impossible;
  options.threads = state.threads;
  spdlog::info("Answering the {} questions of {}.", dev.examples.size(), report.dev);
  const std::vector<Prediction> predictions = predict(dev, tokenizer, engine, options);
  std::unordered_map<std::string, double> no_answer_scores;
  if (dev.has_impossible) {
    for (size_t i = 0; i < predictions.size(); ++i) {
      no_answer_scores[dev.examples[i].id] = predictions[i].no_answer_score;
    }
  }
  report.metrics = evaluate(dev, best_answers(dev, predictions), no_answer_scores);
  report.evaluation_seconds = seconds();
  progress.clear();
  spdlog::info("Exact match {:.2f}, F1 {:.2f} on {} questions, in {}.",
               report.metrics->all.exact_match, report.metrics->all.f1, report.metrics->all.total,
               time_text(report.evaluation_seconds));
}

/// Returns the number of the signal that stopped it, or 0.
int train(const Flags& flags) {
  check_out(flags);
  const ModelFolder folder = ModelFolder::open(flags.model);
  std::unique_ptr<RunState> saved;
  if (flags.resume) {
    saved = std::make_unique<RunState>(read_snapshot_state(flags.run.snapshot));
  }
  RunState state;
  state.recipe = chosen_recipe(flags, saved.get(), folder.config());
  const Recipe& recipe = state.recipe;
  state.threads = flags.threads != 0 ? flags.threads : available_threads();

  const bool lower = lower_case(flags, folder);
  TokenizerOptions tokenizer_options;
  tokenizer_options.lower_case = lower;
  tokenizer_options.behaviour = TokenizerOptions::Behaviour::reference;
  const auto vocabulary =
      std::make_shared<const Vocabulary>(Vocabulary::load(folder.vocabulary_path()));
  const Tokenizer tokenizer(vocabulary, tokenizer_options);
  const Dataset dev = flags.dev.empty() ? Dataset() : Dataset::load(flags.dev);
  const Dataset dataset = Dataset::load(flags.train);
  WindowOptions window_options = recipe.window_options();
  window_options.training = true;
  const WindowSet set = make_windows(dataset, tokenizer, window_options, state.threads);
  for (const std::string& id : set.report().skipped) {
    spdlog::warn("{}: the answer of question {} is not in its context; skipped.",
                 flags.train.string(), id);
  }
  const std::vector<Window> windows = training_windows(set, recipe.max_train_windows);

  BertConfig config = folder.config();
  config.hidden_act = recipe.hidden_act;
  config.layer_norm_eps = recipe.layer_norm_eps;
  const std::unique_ptr<Engine> engine = make_cpu_engine(config, {state.threads, recipe.precision});
  const ParameterReader first_weights = folder.parameters(recipe.seed);
  state.model_fingerprint = fingerprint_of(config, engine->parameters(), first_weights);
  state.data_fingerprint = fingerprint_of(windows);

  ModelFolderContents contents;
  contents.config = config;
  contents.vocabulary = folder.vocabulary_path();
  contents.lower_case = lower;
  contents.type = weights_type(flags.weights_type);
  contents.parameters = engine->parameters();
  contents.store_parameters = [&](const ParameterWriter& write) {
    engine->store_parameters(write);
  };
  if (recipe.keep_pooler) {
    contents.pooler = folder.pooler();
  }

  if (saved) {
    const std::string differs = difference(*saved, state);
    if (!differs.empty()) {
      throw Error(ErrorCode::usage, fmt::format("--resume: the run in {} is another one: {}.",
                                                flags.out.string(), differs));
    }
    if (saved->threads != state.threads) {
      spdlog::warn(
          "The run was begun with {} threads and goes on with {}: the last bits of its "
          "weights may differ from those of an uninterrupted run.",
          saved->threads, state.threads);
    }
    state.steps = saved->steps;
    state.seconds = saved->seconds;
    state.mean_loss = saved->mean_loss;
    load_snapshot(flags.run.snapshot, state, *engine);
  } else {
    engine->load_parameters(first_weights);
    if (folder.lacks_head()) {
      spdlog::info("{} has no span head: qa_outputs begins at random from seed {}.",
                   flags.model.string(), recipe.seed);
    }
  }

  Trainer trainer(*engine, windows, recipe);
  RunReport report;
  report.program_version = BERTRAND_VERSION;
  report.machine = this_machine();
  report.model = flags.model.string();
  report.train = flags.train.string();
  report.dev = flags.dev.string();
  report.begun = utc_time();
  report.examples = dataset.examples.size();
  report.windows = windows.size();
  report.skipped = set.report().skipped.size();
  report.steps_planned = trainer.counts().steps;
  const auto write_report = [&] {
    write_file(flags.report_file(), run_report_to_json(report, state));
  };

  begin_folder(flags);
  write_file(flags.recipe_file(), recipe_to_json(recipe));
  write_report();
  spdlog::info("Recipe: {}", recipe_to_json(recipe));
  spdlog::info("{} windows of {} questions; {} steps{}; {} threads.", windows.size(),
               dataset.examples.size() - report.skipped, trainer.counts().steps,
               state.steps == 0 ? "" : fmt::format(", going on after {}", state.steps),
               state.threads);

  const bool shows = spdlog::should_log(spdlog::level::info);
  Progress progress(shows ? stderr : nullptr, ::isatty(STDERR_FILENO) != 0);
  RunEnd end = RunEnd::stopped;
  {
    RunLog log(flags.log_file(), state.steps);
    const SignalCatcher catcher;
    end = run_training(trainer, state, contents, log, progress, flags.run);
    progress.clear();
  }
  if (end == RunEnd::stopped) {
    report.ended = utc_time();
    write_report();
    spdlog::info("Stopped after step {} of {}; --resume goes on from {}.", state.steps,
                 trainer.counts().steps, flags.run.snapshot.string());
    return caught_signal;
  }
  spdlog::info("Trained {} steps in {}; loss {:.4f}.", state.steps, time_text(state.seconds),
               state.mean_loss);
  write_model_folder(flags.out, contents);
  if (!flags.dev.empty()) {
    evaluate_dev(dev, tokenizer, *engine, state, progress, report);
  }
  report.finished = true;
  report.ended = utc_time();
  write_report();
  fs::remove_all(flags.run.snapshot);
  spdlog::info("The model is in {}.", flags.out.string());
  return 0;
}

void add_recipe_flags(CLI::App& command, Flags& flags) {
  const BertConfig base;
  const Recipe reference = named_recipe("reference", base);
  const Recipe modern = named_recipe("modern", base);
  for (const RecipeField& field : recipe_fields()) {
    std::string flag = "--" + field.name;
    std::replace(flag.begin(), flag.end(), '_', '-');
    if (field.name == "max_train_windows") {
      flag += ",--limit";
    }
    const std::string value = recipe_value(modern, field.name);
    const std::string other = recipe_value(reference, field.name);
    const std::string help =
        fmt::format("{} [{}{}]", field.help, value,
                    value == other ? "" : fmt::format("; reference: {}", other));
    command
        .add_option_function<std::string>(
            flag,
            [&flags, name = field.name](const std::string& text) {
              flags.recipe_values[name] = text;
            },
            help)
        ->type_name(field.values.empty() ? "NUMBER" : field.values)
        ->group("Recipe");
  }
}

}  // namespace

void add_train(CLI::App& app) {
  CLI::App& command = *app.add_subcommand("train", "Fine-tune a model on a SQuAD file");
  const auto flags = std::make_shared<Flags>();
  command.add_option("--model", flags->model, "Model folder to begin from")
      ->required()
      ->type_name("FOLDER");
  command.add_option("--train", flags->train, "SQuAD file (JSON) to train on")
      ->required()
      ->type_name("FILE");
  command.add_option("--dev", flags->dev, "SQuAD file to evaluate the result on")
      ->type_name("FILE");
  command.add_option("--out", flags->out, "Folder for the new model and all about the run")
      ->required()
      ->type_name("FOLDER");
  command.add_option("--recipe", flags->recipe, "All values of the run by one name [modern]")
      ->type_name("reference|modern");
  command.add_option("--threads", flags->threads, "Threads to compute with [all there are]");
  auto* cased = command.add_flag("--cased", flags->cased, "Case matters, whatever the model says");
  command.add_flag("--uncased", flags->uncased, "Lower case, without accents")->excludes(cased);
  auto* resume = command.add_flag("--resume", flags->resume,
                                  "Go on with the run in --out; other flags as then");
  command.add_flag("--overwrite", flags->overwrite, "Replace the run in --out")->excludes(resume);
  command.add_option("--weights-type", flags->weights_type, "Of the file written [f32]")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->type_name("f32|f16|bf16");
  RunOptions& run = flags->run;
  command.add_option("--snapshot-every", run.snapshot_every, "Steps between snapshots [by time]");
  command
      .add_option("--snapshot-minutes", run.snapshot_minutes,
                  "Minutes between snapshots, 0: none by time [15]")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--stop-after-steps", run.stop_after_steps,
                     "Stop after so many steps, with a snapshot to resume from");
  command.add_option("--stop-after-minutes", run.stop_after_minutes, "The same by time")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--log-every", run.log_every, "Steps a line of events.jsonl [1]")
      ->check(CLI::PositiveNumber);
  add_recipe_flags(command, *flags);
  command.callback([flags] {
    flags->run.snapshot = flags->out / "snapshot";
    flags->run.signal = [] { return static_cast<int>(caught_signal); };
    const int signal = train(*flags);
    if (signal != 0) {
      std::exit(128 + signal);
    }
  });
}

}  // namespace bertrand::cli
