#include "train/fine_tune.h"

#include <chrono>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/model_folder.h"
#include "model/initial_parameters.h"
#include "predict/model_tokenizer.h"
#include "predict/predictor.h"
#include "squad/dataset.h"
#include "squad/metrics.h"
#include "squad/question_list.h"
#include "squad/windows.h"
#include "train/agreement.h"
#include "train/evaluation.h"
#include "train/fingerprint.h"
#include "train/joining.h"
#include "train/run_folder.h"
#include "train/run_report.h"
#include "train/trainer.h"
#include "train/training_windows.h"

namespace bertrand {
namespace {

namespace fs = std::filesystem;

/// The named recipe, or that of the run resumed; then what the user says.
Recipe chosen_recipe(const FineTuneOptions& options, const std::optional<RunState>& saved,
                     const BertConfig& config) {
  const bool as_saved = saved && (options.recipe.empty() || options.recipe == saved->recipe.name);
  Recipe recipe = as_saved
                      ? saved->recipe
                      : named_recipe(options.recipe.empty() ? "modern" : options.recipe, config);
  for (const auto& [field, text] : options.recipe_values) {
    set_recipe_value(recipe, field, text);
  }
  check_recipe(recipe);
  return recipe;
}

std::string processes_text(unsigned count) {
  return count == 1 ? "1 process" : fmt::format("{} processes", count);
}

void check_length(const BertConfig& config, const Recipe& recipe) {
  if (recipe.max_seq_length > config.max_position_embeddings) {
    throw Error(ErrorCode::usage,
                fmt::format("--max-seq-length: {} is more than the model's {} positions.",
                            recipe.max_seq_length, config.max_position_embeddings));
  }
}

BertConfig trained_config(const ModelFolder& folder, const Recipe& recipe) {
  BertConfig config = folder.config();
  config.hidden_act = recipe.hidden_act;
  config.layer_norm_eps = recipe.layer_norm_eps;
  return config;
}

class FineTune {
 public:
  FineTune(const FineTuneOptions& options, ProcessGroup* group)
      : options_(options),
        group_(group),
        place_(group == nullptr ? ProcessPlace() : group->place()),
        folder_(options.files ? ModelFolder::open(*options.files)
                              : ModelFolder::open(options.model)),
        saved_(options.resume ? std::optional(read_snapshot_state(snapshot())) : std::nullopt),
        tokenizer_(load_tokenizer(folder_, options.lower_case)) {
    state_.recipe = chosen_recipe(options, saved_, folder_.config());
    state_.threads = options.threads;
    state_.processes = place_.count;
    state_.dropout_key = options.dropout_key;
    state_.weights_type =
        options.weights_type.value_or(saved_ ? saved_->weights_type : DataType::f32);
    check_length(folder_.config(), recipe());
    choose_precision();
  }

  RunEnd go() {
    share_precision();
    together(group_, [this] {
      read_data();
      prepare_engine();
    });
    check_alike(group_, facts_of(options_, state_));
    together(group_, [this] {
      if (is_first()) begin_folder();
    });
    try {
      return train() == RunEnd::finished ? finish() : stopped();
    } catch (...) {
      // With a snapshot the run can go on: nothing of it may go.
      if (run_folder_ && has_snapshot(snapshot())) {
        run_folder_->keep();
      }
      throw;
    }
  }

 private:
  fs::path snapshot() const { return options_.out / "snapshot"; }
  const Recipe& recipe() const { return state_.recipe; }

  /// Whether this is the process that writes, shows and evaluates.
  bool is_first() const { return place_.rank == 0; }

  /// What rank 0 chose, for all who left the choice to it.
  void share_precision() {
    if (group_ == nullptr) {
      return;
    }
    Precision chosen = recipe().precision;
    group_->broadcast(std::as_writable_bytes(std::span(&chosen, 1)), /*root=*/0);
    if (recipe().precision == Precision::automatic) {
      state_.recipe.precision = chosen;
    }
  }

  /// `auto` is measured once a run: recipe and snapshots hold what it came to.
  void choose_precision() {
    if (recipe().precision != Precision::automatic) {
      return;
    }
    if (saved_) {
      state_.recipe.precision = saved_->recipe.precision;
      spdlog::info("Precision auto: {}, as the run was begun.", name_of(recipe().precision));
      return;
    }
    if (!is_first()) {
      return;
    }
    const PrecisionChoice choice =
        options_.choose_precision(trained_config(folder_, recipe()), options_.threads);
    state_.recipe.precision = choice.precision;
    spdlog::info("Precision auto: {}.", text_of(choice));
  }

  /// The dev file too: better refused now than after hours. Rank 0 alone needs it.
  void read_data() {
    if (is_first() && !options_.dev.empty()) {
      dev_ = Dataset::load(options_.dev);
      check_can_evaluate(dev_);
    }
    dataset_ = Dataset::load(options_.train);
    WindowOptions options = recipe().window_options();
    options.training = true;
    set_ = make_windows(dataset_, tokenizer_.tokenizer, options, options_.threads);
    for (const std::string& met : sentences_of(set_.report(), options_.train.string())) {
      spdlog::warn("{}", met);
    }
    windows_ = training_windows(set_, recipe().max_train_windows);
    if (windows_.empty()) {
      throw Error(ErrorCode::bad_input,
                  fmt::format("{}: holds no question to train on.", options_.train.string()));
    }
    state_.data_fingerprint = fingerprint_of(windows_);
  }

  void prepare_engine() {
    const BertConfig config = trained_config(folder_, recipe());
    engine_ = options_.make_engine(config, recipe().precision, options_.threads);
    const ParameterReader first_weights = folder_.parameters(recipe().seed);
    state_.model_fingerprint = fingerprint_of(config, engine_->parameters(), first_weights);
    contents_.config = config;
    contents_.vocabulary = folder_.vocabulary_path();
    const MappedFile copied_later(contents_.vocabulary);  // to the weights: better refused now
    contents_.lower_case = tokenizer_.lower_case;
    contents_.type = state_.weights_type;
    contents_.parameters = engine_->parameters();
    contents_.store_parameters = [this](const ParameterWriter& write) {
      engine_->store_parameters(write);
    };
    if (recipe().keep_pooler) {
      contents_.pooler = folder_.pooler();
      if (contents_.pooler.empty() && options_.form == ModelForm::reference) {
        contents_.pooler = initial_pooler(config, recipe().seed);
        spdlog::info("{} has no pooler; a new one goes with the weights, as in the reference.",
                     options_.model.string());
      }
    }
    if (saved_) {
      go_on_from_snapshot();
      return;
    }
    engine_->load_parameters(first_weights);
    for (const std::string& note : folder_.notes()) {
      spdlog::info("{}.", note);
    }
    if (folder_.lacks_head()) {
      spdlog::info("{} has no span head: qa_outputs begins at random from seed {}.",
                   options_.model.string(), recipe().seed);
    }
  }

  void go_on_from_snapshot() {
    const std::string differs = difference(*saved_, state_);
    if (!differs.empty()) {
      throw Error(ErrorCode::usage, fmt::format("--resume: the run in {} is another one: {}.",
                                                options_.out.string(), differs));
    }
    if (saved_->processes != state_.processes) {
      throw Error(
          ErrorCode::usage,
          fmt::format("--resume: the run in {} was begun by {}, and is now to go on with "
                      "{}; its steps would be others. Give it as many as before (launch "
                      "--nproc), or begin anew with --overwrite.",
                      options_.out.string(), processes_text(saved_->processes), state_.processes));
    }
    tell_other_bits(*saved_, state_);
    state_.steps = saved_->steps;
    state_.seconds = saved_->seconds;
    state_.mean_loss = saved_->mean_loss;
    state_.loss_scaling = saved_->loss_scaling;
    load_snapshot(snapshot(), state_, *engine_);
  }

  void begin_folder() {
    run_folder_.emplace(options_.out);
    if (saved_) {
      run_folder_->keep();
    } else {
      run_folder_->set_aside(snapshot());  // of a run to be overwritten; its weights stay, too
    }
    check_run_space(options_.out, contents_, /*snapshot=*/!saved_);
    const std::string recipe_json = recipe_to_json(recipe());
    write_file(options_.out / "recipe.json", recipe_json);
    spdlog::info("Recipe: {}", recipe_json);
  }

  RunEnd train() {
    Trainer trainer(*engine_, windows_, recipe(), group_);
    const uint64_t steps = trainer.counts().steps;
    RunOptions run = options_.run;
    run.snapshot = snapshot();
    std::optional<RunLog> log;
    together(group_, [&] {
      if (!is_first()) return;
      begin_report(steps);
      if (options_.on_begin) {
        options_.on_begin({dataset_.examples.size(), windows_.size(), trainer.counts()});
      }
      log.emplace(options_.out / "events.jsonl", state_.steps);
    });
    Progress progress(is_first() ? options_.progress : nullptr, options_.terminal);
    const RunEnd end =
        run_training(trainer, state_, contents_, log ? &*log : nullptr, progress, run);
    progress.clear();
    together(group_, [&] {
      if (is_first()) tell_end(end, steps);
    });
    return end;
  }

  void tell_end(RunEnd end, uint64_t steps) {
    report_.ended = end == RunEnd::stopped ? utc_time() : "";
    write_report();
    if (end == RunEnd::stopped) {
      spdlog::info("Stopped after step {} of {}; --resume goes on from {}.", state_.steps, steps,
                   snapshot().string());
    } else {
      spdlog::info("Trained {} steps in {}; loss {:.4f}.", state_.steps, time_text(state_.seconds),
                   state_.mean_loss);
    }
  }

  void begin_report(uint64_t steps) {
    report_.program_version = options_.program_version;
    report_.library_versions = options_.library_versions;
    report_.engine = options_.engine;
    report_.device = options_.device;
    report_.machine = this_machine();
    report_.model = options_.model.string();
    report_.train = options_.train.string();
    report_.dev = options_.dev.string();
    report_.begun = utc_time();
    report_.examples = dataset_.examples.size();
    report_.windows = windows_.size();
    report_.skipped = set_.report().skipped.size();
    report_.empty_contexts = set_.report().empty_contexts.size();
    report_.steps_planned = steps;
    write_report();
    spdlog::info("{} windows of {} questions; {} steps{}; {} threads.", windows_.size(),
                 dataset_.examples.size() - report_.skipped - report_.empty_contexts, steps,
                 saved_ ? fmt::format(", going on after {}", state_.steps) : "", options_.threads);
    if (place_.count > 1) {
      spdlog::info("{} processes of {} windows each: {} windows a step.", place_.count,
                   recipe().batch_size, uint64_t{place_.count} * recipe().batch_size);
    }
  }

  RunEnd stopped() {
    leave();
    if (run_folder_) {
      run_folder_->keep();
    }
    return RunEnd::stopped;
  }

  /// Where the model cannot be written its weights are kept in a snapshot, if that can be.
  void write_model() {
    try {
      write_model_folder(options_.out, contents_, options_.form);
    } catch (const Error& error) {
      try {
        if (!has_snapshot(snapshot()) || read_snapshot_state(snapshot()).steps != state_.steps) {
          write_snapshot(snapshot(), *engine_, contents_, state_);
        }
      } catch (const Error&) {
        // The first error is the one to tell of.
      }
      if (has_snapshot(snapshot())) throw telling_of_snapshot(error, snapshot());
      throw Error(error.code(), fmt::format("{} No snapshot could be kept, either.", error.what()));
    }
    run_folder_->keep();
  }

  /// The others end before the first one does: none takes the group away while another is in it.
  void leave() const {
    if (group_ != nullptr && options_.leave) options_.leave();
  }

  /// The snapshot goes last: whatever happens before, --resume comes here again. The others do not
  /// wait for the evaluation.
  RunEnd finish() {
    together(group_, [this] {
      if (is_first()) write_model();
    });
    leave();
    if (!is_first()) {
      return RunEnd::finished;
    }
    if (!options_.dev.empty() && !evaluate_dev()) {
      write_snapshot(snapshot(), *engine_, contents_, state_);
      spdlog::info(
          "Stopped before the evaluation's end; the model is in {}, --resume evaluates it.",
          options_.out.string());
      return RunEnd::stopped;
    }
    report_.finished = true;
    report_.ended = utc_time();
    write_report();
    fs::remove_all(snapshot());
    if (options_.is_kept) spdlog::info("The model is in {}.", options_.out.string());
    return RunEnd::finished;
  }

  /// False where a signal stopped it.
  bool evaluate_dev() {
    const auto begin = std::chrono::steady_clock::now();
    PredictOptions options;
    options.windows = recipe().window_options();
    options.threads = options_.threads;
    options.model = options_.out.string();
    spdlog::info("Answering the {} questions of {}.", dev_.examples.size(), options_.dev.string());
    report_.metrics = evaluate_engine(dev_, tokenizer_.tokenizer, *engine_, options,
                                      options_.evaluation_progress, options_.run.signal);
    if (!report_.metrics) {
      return false;
    }
    report_.evaluation_seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    const Score& score = report_.metrics->all;
    spdlog::info("Exact match {:.2f}, F1 {:.2f} on {} questions, in {}.", score.exact_match,
                 score.f1, score.total, time_text(report_.evaluation_seconds));
    return true;
  }

  void write_report() const {
    write_file(options_.out / "run.json", run_report_to_json(report_, state_));
  }

  const FineTuneOptions& options_;
  ProcessGroup* const group_;  // nullptr where this process is alone
  const ProcessPlace place_;
  const ModelFolder folder_;
  const std::optional<RunState> saved_;
  const ModelTokenizer tokenizer_;
  RunState state_;
  Dataset dev_, dataset_;
  WindowSet set_;
  std::vector<Window> windows_;
  std::unique_ptr<Engine> engine_;
  ModelFolderContents contents_;
  std::optional<RunFolder> run_folder_;
  RunReport report_;
};

}  // namespace

RunEnd fine_tune(const FineTuneOptions& options) {
  const std::unique_ptr<ProcessGroup> group = joined(options);
  together(group.get(), [&] {
    if (options.launch.place.rank == 0) {
      if (options.check_first) options.check_first();
      check_run_folder({options.out, options.model, options.resume, options.overwrite,
                        options.overwrite_finished,
                        /*own_weights=*/options.form == ModelForm::reference});
    }
  });
  std::optional<FineTune> run;
  together(group.get(), [&] { run.emplace(options, group.get()); });
  return run->go();
}

}  // namespace bertrand
