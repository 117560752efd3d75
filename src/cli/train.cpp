#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <string>
#include <unistd.h>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "commands.h"
#include "common.h"
#include "engine/cpu/cpu_engine.h"
#include "train/fine_tune.h"
#include "train/recipe.h"

namespace bertrand::cli {
namespace {

struct Flags {
  FineTuneOptions options;
  unsigned threads = 0;
  std::string weights_type = "f32";
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

/// A flag for every value of a recipe, with what it is in the two named ones. (The learning rate
/// is shown for BERT-base; its help says that it depends on the model's size.)
void add_recipe_flags(CLI::App& command, FineTuneOptions& options) {
  const Recipe modern = named_recipe("modern", BertConfig());
  const Recipe reference = named_recipe("reference", BertConfig());
  for (const RecipeField& field : recipe_fields()) {
    std::string flag = fmt::format("--{}", field.name);
    std::replace(flag.begin(), flag.end(), '_', '-');
    if (field.name == "max_train_windows") {
      flag += ",--limit";
    }
    std::string value = recipe_value(modern, field.name);
    const std::string other = recipe_value(reference, field.name);
    if (other != recipe_value(modern, field.name)) {
      value += "; reference: " + other;
    }
    const auto set = [&options, name = field.name](const std::string& text) {
      options.recipe_values[name] = text;
    };
    command.add_option_function<std::string>(flag, set, fmt::format("{} [{}]", field.help, value))
        ->type_name(field.values.empty() ? "NUMBER" : field.values)
        ->group("Recipe");
  }
}

void add_run_flags(CLI::App& command, RunOptions& run) {
  command.add_option("--snapshot-every", run.snapshot_every, "Steps between snapshots [by time]");
  command
      .add_option("--snapshot-minutes", run.snapshot_minutes,
                  "Minutes between snapshots, 0: none by time [15]")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--stop-after-steps", run.stop_after_steps,
                     "Make so many steps now, then stop with a snapshot to resume from");
  command.add_option("--stop-after-minutes", run.stop_after_minutes, "The same by time")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--log-every", run.log_every, "Steps a line of events.jsonl [1]")
      ->check(CLI::PositiveNumber);
}

void train(Flags& flags) {
  FineTuneOptions& options = flags.options;
  options.threads = chosen_threads(flags.threads);
  options.weights_type = flags.weights_type == "f16"    ? DataType::f16
                         : flags.weights_type == "bf16" ? DataType::bf16
                                                        : DataType::f32;
  options.program_version = BERTRAND_VERSION;
  options.make_engine = [](const BertConfig& config, Precision precision, unsigned threads) {
    return make_cpu_engine(config, {threads, precision});
  };
  options.progress = spdlog::should_log(spdlog::level::info) ? stderr : nullptr;
  options.terminal = ::isatty(STDERR_FILENO) != 0;
  options.run.signal = [] { return static_cast<int>(caught_signal); };
  RunEnd end = RunEnd::finished;
  {
    const SignalCatcher catcher;
    end = fine_tune(options);
  }
  if (end == RunEnd::stopped && caught_signal != 0) {
    std::exit(128 + caught_signal);
  }
}

}  // namespace

void add_train(CLI::App& app) {
  CLI::App& command = *app.add_subcommand("train", "Fine-tune a model on a SQuAD file");
  const auto flags = std::make_shared<Flags>();
  FineTuneOptions& options = flags->options;
  command.add_option("--model", options.model, "Model folder to begin from")
      ->required()
      ->type_name("FOLDER");
  command.add_option("--train", options.train, "SQuAD file to train on")
      ->required()
      ->type_name("FILE");
  command.add_option("--dev", options.dev, "SQuAD file to evaluate the result on")
      ->type_name("FILE");
  command.add_option("--out", options.out, "Folder for the new model and all about the run")
      ->required()
      ->type_name("FOLDER");
  command.add_option("--recipe", options.recipe, "All values of the run by one name [modern]")
      ->type_name("modern|reference");
  add_threads_flag(command, flags->threads);
  add_case_flags(command, options.lower_case);
  auto* resume = command.add_flag("--resume", options.resume,
                                  "Go on with the run in --out, as its recipe says");
  command.add_flag("--overwrite", options.overwrite, "Replace the run in --out")->excludes(resume);
  command.add_option("--weights-type", flags->weights_type, "Of the weights written [f32]")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->type_name("f32|f16|bf16");
  add_run_flags(command, options.run);
  add_recipe_flags(command, options);
  command.callback([flags] { train(*flags); });
}

}  // namespace bertrand::cli
