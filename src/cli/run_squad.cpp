#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <unistd.h>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "answering.h"
#include "base/error.h"
#include "commands.h"
#include "predict/predictor.h"
#include "progress.h"
#include "reader/engines.h"
#include "reference_log.h"
#include "run_squad_device.h"
#include "run_squad_flags.h"
#include "squad/metrics.h"
#include "train/agreement.h"
#include "train/run_folder.h"
#include "train/schedule.h"
#include "training.h"

namespace bertrand::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using Json = ReferenceLog::Json;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// "--seed 7 --do_train".
std::string given_flags(const CLI::App& command) {
  std::string text;
  for (const CLI::Option* option : command.get_options()) {
    if (option->count() == 0) continue;
    text += (text.empty() ? "" : " ") + option->get_name();
    if (option->get_items_expected_max() == 0) continue;  // a flag
    for (const std::string& value : option->results()) text += " " + value;
  }
  return text;
}

/// A folder for a run that is not to be kept.
class UnkeptFolder {
 public:
  explicit UnkeptFolder(fs::path path) : path_(std::move(path)) {}
  ~UnkeptFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  UnkeptFolder(const UnkeptFolder&) = delete;
  UnkeptFolder& operator=(const UnkeptFolder&) = delete;

 private:
  fs::path path_;
};

class RunSquad {
 public:
  RunSquad(const CLI::App& command, const RunSquadFlags& flags, FineTuneOptions& options)
      : command_(command),
        flags_(flags),
        options_(options),
        trained_(flags.skip_checkpoint ? flags.output_dir / "not-kept" : flags.output_dir) {
    // Better refused now than after hours; of several processes all are to hear of it.
    if (options.meeting) {
      options.check_first = [this] { read_data(); };
    } else if (is_first()) {
      read_data();
    }
    // Before the summary of the run that is there is begun anew.
    together(options.meeting.get(), [&] {
      if (!is_first() || !flags.do_train) return;
      check_run_folder({trained_, flags.init_checkpoint, flags.resume, flags.overwrite,
                        /*overwrite_finished=*/true, /*own_weights=*/true});
    });
    if (!is_first()) return;
    const bool bar = flags.show_progress && ::isatty(STDERR_FILENO) != 0;
    log_.emplace(flags.json_summary, /*append=*/flags.resume,
                 /*print_steps=*/!bar || ::isatty(STDOUT_FILENO) == 0);
    log_->parameter("Config", Json::array({given_flags(command)}));
    log_->parameter("SEED", flags.seed);
  }

  /// False where the run was stopped, as asked, before its end.
  bool go() {
    ModelFiles files = {flags_.init_checkpoint, flags_.config_file, flags_.vocab_file};
    std::optional<UnkeptFolder> unkept;
    if (flags_.do_train) {
      if (train(files) == RunEnd::stopped) return false;
      if (flags_.skip_checkpoint && is_first()) unkept.emplace(trained_);
      files.weights = trained_ / "pytorch_model.bin";
    }
    if (!is_first()) return true;
    if (flags_.do_predict) answer(files);
    if (flags_.do_train) log_->result(trained_figures_);
    if (flags_.do_predict) log_->result(answered_figures_);
    if (flags_.do_eval) log_->result(score());
    log_->finish();
    return true;
  }

 private:
  /// Whether this is the process that writes, tells and answers.
  bool is_first() const { return options_.launch.place.rank == 0; }

  void read_data() {
    if (!flags_.do_predict) return;
    data_ = Dataset::load(flags_.predict_file);
    if (flags_.do_eval) check_can_evaluate(data_);
  }

  /// The recipe `reference` with the flags' values.
  std::map<std::string, std::string> recipe_values() const {
    const uint32_t parts = flags_.gradient_accumulation_steps;
    std::map<std::string, std::string> values = {
        {"batch_size", std::to_string(windows_a_part() * parts)},
        {"accumulation", std::to_string(parts)},
        {"learning_rate", fmt::format("{}", flags_.learning_rate)},
        {"warmup", fmt::format("{}", flags_.warmup_proportion)},
        {"epochs", fmt::format("{:.0f}", std::floor(flags_.num_train_epochs))},
        {"max_steps", fmt::format("{:.0f}", std::max(0.0, std::floor(flags_.max_steps)))},
        {"seed", std::to_string(flags_.seed)},
        {"doc_stride", std::to_string(flags_.windows.doc_stride)},
        {"max_query_length", std::to_string(flags_.windows.max_query_length)},
        {"precision", name_of(flags_.precision)},
    };
    if (length_is_given()) {
      values["max_seq_length"] = std::to_string(flags_.windows.max_seq_length);
    }
    return values;
  }

  /// What the reference divides --train_batch_size to.
  uint32_t windows_a_part() const {
    return flags_.train_batch_size / flags_.gradient_accumulation_steps;
  }

  bool length_is_given() const { return command_.count("--max_seq_length") != 0; }

  RunEnd train(const ModelFiles& files) {
    options_.model = files.weights;
    options_.files = files;
    options_.train = flags_.train_file;
    options_.out = trained_;
    options_.is_kept = !flags_.skip_checkpoint;
    options_.recipe = "reference";
    options_.recipe_values = recipe_values();
    options_.lower_case = flags_.do_lower_case;
    options_.resume = flags_.resume;
    options_.overwrite = flags_.overwrite;
    options_.overwrite_finished = true;
    options_.form = ModelForm::reference;
    if (is_first()) {
      options_.on_begin = [this](const RunSize& size) { tell_begin(size); };
      options_.run.on_step = [this](const TrainStep& step, double seconds) {
        tell_step(step);
        // Both of all parts of a run that was gone on with.
        const auto windows = static_cast<double>(windows_of(counts_, step.step));
        trained_figures_ = {{"e2e_train_time", seconds},
                            {"training_sequences_per_second", windows / seconds},
                            {"final_loss", step.loss}};
      };
      tell_leftover_epochs();
      log_->parameter("loading_checkpoint", true);
    }
    return run_fine_tune(options_, flags_.engine, flags_.show_progress);
  }

  void tell_leftover_epochs() const {
    if (std::floor(flags_.num_train_epochs) != flags_.num_train_epochs) {
      spdlog::info(
          "--num_train_epochs {}: whole passes are made, as in the reference, and the learning "
          "rate falls over them; the reference's falls over all of it.",
          flags_.num_train_epochs);
    }
  }

  void tell_begin(const RunSize& size) {
    counts_ = size.counts;
    log_->parameter("loaded_checkpoint", true);
    log_->parameter("train_start", true);
    log_->parameter("training_samples", size.examples);
    log_->parameter("training_features", size.windows);
    log_->parameter("train_batch_size", windows_a_part());
    log_->parameter("steps", size.counts.total);
    log_->begin_work();
  }

  void tell_step(const TrainStep& step) {
    const uint64_t epoch = (step.step - 1) / counts_.steps_per_epoch;
    if ((step.step - 1) % counts_.steps_per_epoch % flags_.log_freq != 0) return;
    log_->step(epoch, step.step, {{"step_loss", step.loss}, {"learning_rate", step.learning_rate}});
  }

  void answer(const ModelFiles& files) {
    const ModelFolder folder = ModelFolder::open(files);
    Model model = Model::load(
        folder, {options_.threads, flags_.precision,
                 choice_of_process(flags_.engine, options_.launch), flags_.do_lower_case});
    for (const std::string& note : model.notes()) spdlog::info("{}.", note);
    PredictOptions options;
    options.windows = flags_.windows;
    const auto positions = static_cast<uint32_t>(model.config().max_position_embeddings);
    if (!length_is_given()) {
      options.windows.max_seq_length = std::min(options.windows.max_seq_length, positions);
    }
    options.answers = flags_.answers;
    options.threads = options_.threads;
    options.batch_tokens = std::max(
        options.batch_tokens, size_t{flags_.predict_batch_size} * options.windows.max_seq_length);
    options.model = files.weights.string();
    Dataset asked = data_;
    if (flags_.eval_iters > 0) cut(asked, model.tokenizer(), options.windows);
    log_->parameter("infer_start", true);
    log_->parameter("eval_samples", asked.examples.size());
    predict_all(asked, model, options);
  }

  /// Leaves the questions that the first --eval_iters batches hold a window of.
  void cut(Dataset& asked, const Tokenizer& tokenizer, const WindowOptions& options) const {
    const double most = std::floor(flags_.eval_iters) * flags_.predict_batch_size;
    const WindowSet windows = make_windows(asked, tokenizer, options, options_.threads);
    if (most >= static_cast<double>(windows.size())) return;
    asked.examples.resize(windows[static_cast<size_t>(most) - 1].example + 1);
    spdlog::info("--eval_iters: {} of {} questions are answered.", asked.examples.size(),
                 data_.examples.size());
  }

  void predict_all(const Dataset& asked, Model& model, PredictOptions& options) {
    size_t windows = 0;
    auto begin = Clock::now();
    options.on_windows = [&](const WindowReport& report) {
      tell_empty_contexts(report);
      begin = Clock::now();
    };
    std::optional<CountProgress> bar;
    if (flags_.show_progress) bar.emplace("windows");
    log_->parameter("predict_batch_size", flags_.predict_batch_size);
    log_->begin_work();
    const std::vector<Prediction> predictions =
        predict(asked, model.tokenizer(), model.engine(), options, [&](size_t done, size_t all) {
          windows = all;
          if (bar) bar->show(done, all);
        });
    bar.reset();
    const double seconds = seconds_since(begin);
    log_->parameter("eval_features", windows);
    answered_figures_ = {
        {"e2e_inference_time", seconds},
        {"inference_sequences_per_second", static_cast<double>(windows) / seconds}};
    write_answers(flags_.output_dir, asked, predictions, flags_.answers.allow_no_answer);
    best_ = best_answers(asked, predictions);
  }

  /// Questions left out by --eval_iters count as wrong, as they do in the reference.
  Json score() const {
    const Metrics metrics = evaluate(data_, best_);
    if (!metrics.missing.empty()) {
      spdlog::warn("{} questions are not answered; that counts as wrong.", metrics.missing.size());
    }
    return {{"exact_match", metrics.all.exact_match}, {"F1", metrics.all.f1}};
  }

  const CLI::App& command_;
  const RunSquadFlags& flags_;
  FineTuneOptions& options_;
  const fs::path trained_;  // folder of the run
  Dataset data_;
  std::optional<ReferenceLog> log_;
  ScheduleCounts counts_;
  std::unordered_map<std::string, std::string> best_;  // answers by question id
  Json trained_figures_, answered_figures_;
};

void run_squad(const CLI::App& command, RunSquadFlags& flags) {
  check_run_squad_flags(command, flags);
  // Whoever reads the lines may go away: the work goes on, and finish() tells.
  std::signal(SIGPIPE, SIG_IGN);
  FineTuneOptions options;
  try {
    choose_device(flags, options);
    for (const std::string& sentence : flags.notes) spdlog::info("{}", sentence);
    choose_precision(command, flags);
    if (!RunSquad(command, flags, options).go()) return;
  } catch (const Error& error) {
    throw Error(error.code(), with_names_of_run_squad(error.what()));
  }
  spdlog::info("All is in {}.", flags.output_dir.string());
}

}  // namespace

void add_run_squad(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "run_squad", "Train, predict and evaluate with the flags of the reference's run_squad.py");
  const auto flags = std::make_shared<RunSquadFlags>();
  add_run_squad_flags(*command, *flags);
  command->callback([command, flags] { run_squad(*command, *flags); });
}

}  // namespace bertrand::cli
