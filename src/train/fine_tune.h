#pragma once

#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "checkpoint/model_folder.h"
#include "checkpoint/tensor.h"
#include "distributed/launch_environment.h"
#include "distributed/process_group.h"
#include "engine/engine.h"
#include "engine/fastest_precision.h"
#include "predict/predictor.h"
#include "train/run.h"

namespace bertrand {

using EngineMaker = std::function<std::unique_ptr<Engine>(const BertConfig& config,
                                                          Precision precision, unsigned threads)>;

/// What Precision::automatic stands for in training with so many threads.
using PrecisionChooser = std::function<PrecisionChoice(const BertConfig& config, unsigned threads)>;

/// Joins the processes of a run. Called once, in each of them, where there are several.
using GroupMaker = std::function<std::unique_ptr<ProcessGroup>(const LaunchEnvironment& launch)>;

/// What a run has before it, known when model and data are read.
struct RunSize {
  size_t examples = 0;  ///< questions of the file
  size_t windows = 0;
  ScheduleCounts counts;
};

/// What the user asks for.
struct FineTuneOptions {
  std::filesystem::path model;      ///< folder to begin from
  std::optional<ModelFiles> files;  ///< to begin from instead; `model` is then where weights are
  std::filesystem::path train;      ///< SQuAD file
  std::filesystem::path dev;        ///< SQuAD file to evaluate the result on, or empty
  std::filesystem::path out;        ///< folder to write
  std::string recipe;               ///< name; empty: modern, or that of the run resumed
  std::map<std::string, std::string> recipe_values;  ///< field to text, on top of the named recipe
  unsigned threads = 1;
  std::optional<bool> lower_case;        ///< empty: what the model says
  bool resume = false;                   ///< go on with the run in `out`
  bool overwrite = false;                ///< replace the run in `out`
  bool overwrite_finished = false;       ///< replace it, unless it can be gone on with
  std::optional<DataType> weights_type;  ///< of the file written; empty: f32, or as the run resumed
  ModelForm form = ModelForm::transformers;  ///< of the folder written; reference: with a pooler
  bool is_kept = true;                       ///< else the caller removes `out`: it is not told of
  RunOptions run;                            ///< `snapshot` is set to out/snapshot
  std::string program_version;
  std::map<std::string, std::string> library_versions;  ///< by name, for run.json
  LaunchEnvironment launch;                             ///< which of how many processes this is
  std::shared_ptr<ProcessGroup> meeting;  ///< joins several before make_group's is there, or empty
  std::function<void()> check_first;  ///< what rank 0 looks at before anything is read, or empty
  GroupMaker make_group;              ///< empty: there is nothing to join several with
  std::function<void()> leave;        ///< called when nothing is exchanged any more, or empty
  EngineMaker make_engine;
  std::string engine = "native";  ///< what make_engine makes and where it computes, for run.json
  std::string device = "cpu";
  std::string machine;  ///< of this process, as the meeting knows it
  std::string card;     ///< the one of the machine that `device` stands for, or empty
  std::string dropout_key = "example";  ///< or "device": by whom masks are drawn
  std::string joined_by;                ///< what makes make_group's group, of which version
  PrecisionChooser choose_precision;    ///< asked where the recipe says auto, at a run's begin
  std::FILE* progress = nullptr;        ///< where progress is shown; nullptr: nowhere
  bool terminal = false;                ///< `progress` is one
  PredictProgress evaluation_progress;  ///< of the evaluation; at the end done is all
  std::function<void(const RunSize&)> on_begin;  ///< called before the first step, by rank 0
};

/// The whole of a fine-tuning run, from files to files. `out` becomes a model folder with
/// recipe.json, run.json and events.jsonl beside the weights, and holds a snapshot while the run
/// goes on. Nothing is written before model and data are read and found good. Throws Error: usage
/// where `out` is not as the options say or the run to resume is another one, and what reading,
/// training and writing throw.
///
/// Of several processes each calls it with the same options. They agree on everything before the
/// first step, each reads model, data and snapshot, and rank 0 alone writes, shows progress and
/// evaluates. What goes wrong in one is said by rank 0 (the Error of the others has no text, and
/// its code is elsewhere where the fault is not theirs), but that a process is gone (elsewhere) is
/// said by each that notices.
RunEnd fine_tune(const FineTuneOptions& options);

}  // namespace bertrand
