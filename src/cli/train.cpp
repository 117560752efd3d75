#include <memory>
#include <string>

#include <fmt/format.h>

#include "commands.h"
#include "common.h"
#include "reader/engines.h"
#include "train/fine_tune.h"
#include "train/recipe.h"
#include "training.h"

namespace bertrand::cli {
namespace {

struct Flags {
  FineTuneOptions options;
  EngineChoice engine;
  unsigned threads = 0;
  std::string weights_type;
};

/// A flag for every value of a recipe, with what it is in the two named ones. (The learning rate
/// is shown for BERT-base; its help says that it depends on the model's size.)
void add_recipe_flags(CLI::App& command, FineTuneOptions& options) {
  const Recipe modern = named_recipe("modern", BertConfig());
  const Recipe reference = named_recipe("reference", BertConfig());
  for (const RecipeField& field : recipe_fields()) {
    std::string flag = flag_of(field.name);
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

void add_count(CLI::App& command, const char* flag, uint64_t& value, int64_t least,
               const char* help) {
  constexpr int64_t kMost = 1'000'000'000'000;
  command.add_option(flag, value, help)->check(CLI::Range(least, kMost))->type_name("NUMBER");
}

void add_minutes(CLI::App& command, const char* flag, double& value, const char* help) {
  command.add_option(flag, value, help)->check(CLI::Range(0.0, 1e9))->type_name("NUMBER");
}

void add_run_flags(CLI::App& command, RunOptions& run) {
  add_count(command, "--snapshot-every", run.snapshot_every, 0,
            "Steps between snapshots, 0: none by steps [by time]");
  add_minutes(command, "--snapshot-minutes", run.snapshot_minutes,
              "Minutes between snapshots, 0: none by time [15]");
  add_count(command, "--stop-after-steps", run.stop_after_steps, 0,
            "Make so many steps now, then stop with a snapshot to resume from");
  add_minutes(command, "--stop-after-minutes", run.stop_after_minutes, "The same by time");
  add_count(command, "--log-every", run.log_every, 1, "Steps a line of events.jsonl [1]");
}

void train(Flags& flags) {
  FineTuneOptions& options = flags.options;
  join_launch(options, flags.threads, /*meet=*/true);
  if (!flags.weights_type.empty()) {
    options.weights_type = flags.weights_type == "f16"    ? DataType::f16
                           : flags.weights_type == "bf16" ? DataType::bf16
                                                          : DataType::f32;
  }
  run_fine_tune(options, flags.engine);
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
  add_engine_flags(command, flags->engine);
  command
      .add_option("--dropout-key", flags->engine.dropout_key,
                  "Masks keyed by example, the same on every device, or drawn by the device, which "
                  "its fused attention needs [example on the CPU, else device]")
      ->check(CLI::IsMember({"example", "device"}))
      ->type_name("example|device");
  add_case_flags(command, options.lower_case);
  auto* resume = command.add_flag("--resume", options.resume,
                                  "Go on with the run in --out, as its recipe says");
  command.add_flag("--overwrite", options.overwrite, "Replace the run in --out")->excludes(resume);
  command
      .add_option("--weights-type", flags->weights_type,
                  "Of the weights written [f32, or that of the run resumed]")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->type_name("f32|f16|bf16");
  add_run_flags(command, options.run);
  add_recipe_flags(command, options);
  command.callback([flags] { train(*flags); });
}

}  // namespace bertrand::cli
