#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "common.h"
#include "engine/engine_choice.h"

namespace bertrand::cli {

/// What the flags of the reference's run_squad.py say, with its defaults.
struct RunSquadFlags {
  std::filesystem::path output_dir, init_checkpoint, config_file, vocab_file;
  std::filesystem::path train_file, predict_file;
  std::filesystem::path json_summary = "results/dllogger.json";
  bool do_train = false, do_predict = false, do_eval = false;
  WindowOptions windows;
  AnswerOptions answers;
  double learning_rate = 5e-5;
  double warmup_proportion = 0.1;
  double num_train_epochs = 3;  ///< as there, only whole passes are made
  double max_steps = -1;        ///< 0 and below: all of the epochs
  double eval_iters = -1;       ///< batches of predict_batch_size windows; 0 and below: all
  uint32_t train_batch_size = 32;
  uint32_t predict_batch_size = 8;
  uint32_t gradient_accumulation_steps = 1;
  uint64_t log_freq = 50;
  uint64_t seed = 42;
  bool do_lower_case = false;
  bool skip_checkpoint = false;
  bool show_progress = true;
  bool fp16 = false, amp = false, pyamp = false, cnmix = false;
  std::string opt_level;
  std::string device;
  bool no_cuda = false;
  int local_rank = -1;
  int hvd = -1;

  // Not of the reference.
  unsigned threads = 0;
  EngineChoice engine{};
  Precision precision = Precision::fp32;
  bool resume = false;
  bool overwrite = false;

  /// What is to be told before the run: given flags that change nothing, or not what they say;
  /// sentences.
  std::vector<std::string> notes{};
};

/// Both --flag value and --flag=value are taken.
void add_run_squad_flags(CLI::App& command, RunSquadFlags& flags);

/// Throws Error (usage), naming the flag, where one is unknown (with the nearest that is known),
/// one that is needed is missing, or two do not go together. Finds vocabulary and config beside the
/// checkpoint where they are not given.
void check_run_squad_flags(const CLI::App& command, RunSquadFlags& flags);

/// The sentence with flags and devices of `train` and of other commands under their names here:
/// "--out" is "--output_dir", "--device cuda" is "--device gpu".
std::string with_names_of_run_squad(const std::string& sentence);

}  // namespace bertrand::cli
