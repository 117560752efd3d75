#include "run_squad_flags.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/model_folder.h"

namespace bertrand::cli {
namespace {

namespace fs = std::filesystem;

/// Flags of the reference that have nothing to change here.
struct IgnoredFlag {
  const char* names;
  const char* kind;  ///< of its value; empty: it has none
  const char* why;
};
constexpr std::array kIgnored = {
    IgnoredFlag{"--bert_model", "NAME", "the model's sizes are those of --config_file"},
    IgnoredFlag{"--eval_script", "FILE",
                "exact match and F1 are computed here and equal the official script's"},
    IgnoredFlag{"--loss_scale", "NUMBER", "the scale of losses in fp16 is found while training"},
    IgnoredFlag{"--verbose_logging", "", "what is met in the data is always told"},
    IgnoredFlag{"--cache_dir", "FOLDER", "windows are cut anew in seconds, nothing is cached"},
    IgnoredFlag{"--skip_cache", "", "windows are cut anew in seconds, nothing is cached"},
    IgnoredFlag{"--use_env", "", "the environment always says which process this is"},
    IgnoredFlag{"--old", "", "there is one optimizer"},
};

constexpr double kMost = 1e12;  // steps, and what else is counted

template <typename T>
CLI::Option& add_value(CLI::App& command, const char* name, T& value, const char* help,
                       const char* kind = "NUMBER") {
  return *command.add_option(name, value, help)->type_name(kind);
}

/// One that is shown with its default.
template <typename T>
void add_number(CLI::App& command, const char* name, T& value, double least, double most,
                const char* help) {
  add_value(command, name, value, help)
      .check(CLI::Range(static_cast<T>(least), static_cast<T>(most)))
      ->capture_default_str();
}

void add_files(CLI::App& command, RunSquadFlags& flags) {
  add_value(command, "--output_dir", flags.output_dir, "Where all goes (required)", "FOLDER");
  add_value(command, "--init_checkpoint", flags.init_checkpoint,
            "Weights to begin from, of any kind that `convert` reads (required)", "FILE");
  add_value(command, "--config_file", flags.config_file,
            "bert_config.json [beside --init_checkpoint]", "FILE");
  add_value(command, "--vocab_file", flags.vocab_file, "vocab.txt [beside --init_checkpoint]",
            "FILE");
  command.add_flag("--do_train", flags.do_train, "Train on --train_file");
  command.add_flag("--do_predict", flags.do_predict, "Answer the questions of --predict_file");
  command.add_flag("--do_eval", flags.do_eval, "Compare the answers with those of --predict_file");
  add_value(command, "--train_file", flags.train_file, "SQuAD file, such as train-v1.1.json",
            "FILE");
  add_value(command, "--predict_file", flags.predict_file, "SQuAD file, such as dev-v1.1.json",
            "FILE");
  add_value(command, "--json-summary", flags.json_summary, "Figures of the run, a line each",
            "FILE")
      .capture_default_str();
  command.add_flag("--skip_checkpoint", flags.skip_checkpoint, "Do not keep the trained weights");
}

void add_training(CLI::App& command, RunSquadFlags& flags) {
  add_number(command, "--train_batch_size", flags.train_batch_size, 1, 1 << 20,
             "Windows a step in each process");
  add_number(command, "--gradient_accumulation_steps", flags.gradient_accumulation_steps, 1,
             1 << 20, "Parts that a step is made of");
  add_number(command, "--learning_rate", flags.learning_rate, 0, 1e9, "Highest learning rate");
  add_number(command, "--num_train_epochs", flags.num_train_epochs, 0, 1e9, "Passes over the data");
  add_number(command, "--max_steps", flags.max_steps, -kMost, kMost,
             "Stop after so many steps; -1: all");
  add_number(command, "--warmup_proportion", flags.warmup_proportion, 0, 0.999999,
             "Part of the schedule in which the rate rises");
  add_number(command, "--seed", flags.seed, 0, kMost, "Of order, dropout and new weights");
  add_number(command, "--log_freq", flags.log_freq, 1, kMost, "Steps between two that are told");
}

void add_answers(CLI::App& command, RunSquadFlags& flags) {
  add_number(command, "--max_seq_length", flags.windows.max_seq_length, 8, 4096,
             "Tokens a window holds at most");
  add_number(command, "--doc_stride", flags.windows.doc_stride, 1, 4096,
             "How many tokens after this window the next one begins");
  add_number(command, "--max_query_length", flags.windows.max_query_length, 1, 4096,
             "Tokens kept of a question at most");
  command.add_flag("--do_lower_case", flags.do_lower_case, "For uncased models [cased]");
  add_number(command, "--predict_batch_size", flags.predict_batch_size, 1, 1 << 20,
             "Windows answered at once, at least (all are packed without padding)");
  add_number(command, "--eval_iters", flags.eval_iters, -kMost, kMost,
             "Answer only the first so many batches; -1: all");
  add_number(command, "--n_best_size", flags.answers.n_best, 1, 1000,
             "Starts and ends looked at in a window, and answers kept");
  add_number(command, "--max_answer_length", flags.answers.max_answer_tokens, 1, 4096,
             "Tokens of an answer at most");
  command.add_flag("--version_2_with_negative", flags.answers.allow_no_answer,
                   "A question may have no answer (SQuAD v2.0)");
  add_number(command, "--null_score_diff_threshold", flags.answers.no_answer_threshold, -kMost,
             kMost, "No answer is given where its score, less the best answer's, is above this");
}

void add_device(CLI::App& command, RunSquadFlags& flags) {
  add_value(command, "--device", flags.device,
            "Where to compute [cards the plug-in finds, else cpu]", "cpu|gpu[:N]|mlu[:N]");
  command.add_flag("--no_cuda", flags.no_cuda, "Compute on the CPU instead of a GPU");
  add_value(command, "--local_rank,--local-rank", flags.local_rank,
            "Which process of this machine, where a launcher says so");
  add_value(command, "--hvd", flags.hvd, "Processes that horovod was to begin; -1: not used");
  command.add_flag("--fp16", flags.fp16,
                   "Mixed precision: fp16 on cards, on the CPU fp32, see --precision");
  command.add_flag("--amp", flags.amp, "The same");
  command.add_flag("--pyamp", flags.pyamp, "The same");
  command.add_flag("--cnmix", flags.cnmix, "The same, by --opt_level");
  add_value(command, "--opt_level", flags.opt_level, "Of --cnmix; O0 is fp32", "O0|O1|O2|O3")
      .check(CLI::IsMember({"O0", "O1", "O2", "O3"}));
  command.add_flag_callback(
      "--disable-progress-bar", [&flags] { flags.show_progress = false; }, "Show no progress");
}

/// Those the reference does not know.
void add_own(CLI::App& command, RunSquadFlags& flags) {
  add_threads_flag(command, flags.threads);
  add_precision_flag(command, flags.precision);
  add_engine_kind_flags(command, flags.engine);
  auto* resume = command.add_flag("--resume", flags.resume, "Go on with the run in --output_dir");
  command
      .add_flag("--overwrite", flags.overwrite,
                "Begin anew over a run in --output_dir that was stopped")
      ->excludes(resume);
}

void add_ignored(CLI::App& command, RunSquadFlags& flags) {
  for (const IgnoredFlag& flag : kIgnored) {
    const auto note = [&flags, &flag] {
      flags.notes.push_back(fmt::format("{} changes nothing: {}.", flag.names, flag.why));
    };
    const std::string help = fmt::format("Changes nothing: {}", flag.why);
    CLI::Option* option = *flag.kind == '\0'
                              ? command.add_flag_callback(flag.names, note, help)
                              : command.add_option_function<std::string>(
                                    flag.names, [note](const std::string&) { note(); }, help);
    if (*flag.kind != '\0') option->type_name(flag.kind);
    option->group("Taken, too");
  }
}

[[noreturn]] void refuse(const std::string& sentence) { throw Error(ErrorCode::usage, sentence); }

/// "--train_file" of "--train_file=x".
std::string name_of_flag(const std::string& argument) {
  return argument.substr(0, argument.find('='));
}

void refuse_unknown(const CLI::App& command) {
  const std::vector<std::string> unknown = command.remaining();
  if (unknown.empty()) return;
  std::vector<std::string> known;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  }
  const auto flag = std::find_if(unknown.begin(), unknown.end(),
                                 [](const std::string& text) { return text.starts_with("-"); });
  if (flag == unknown.end()) refuse("run_squad takes flags only, and not " + unknown.front() + ".");
  const std::string name = name_of_flag(*flag);
  refuse(
      fmt::format("run_squad has no flag {}; the nearest is {}.", name, nearest_name(name, known)));
}

/// Finds what the reference wants as a file of its own beside the weights.
void find_beside(const RunSquadFlags& flags, const char* flag, fs::path (*find)(const fs::path&),
                 fs::path& path) {
  std::error_code ignored;
  if (path.empty()) {
    const fs::path& weights = flags.init_checkpoint;
    const fs::path folder = fs::is_directory(weights, ignored) ? weights : weights.parent_path();
    path = find(folder.empty() ? "." : folder);
    if (path.empty()) {
      refuse(fmt::format("{} is needed: there is none beside {}.", flag, weights.string()));
    }
    return;
  }
  if (!is_there(path)) {
    throw Error(ErrorCode::io, fmt::format("{} {}: there is no such file.", flag, path.string()));
  }
}

fs::path find_vocabulary(const fs::path& folder) {
  return is_there(folder / "vocab.txt") ? folder / "vocab.txt" : fs::path();
}

void check_files(RunSquadFlags& flags) {
  if (flags.output_dir.empty()) refuse("--output_dir is needed: the folder where all goes.");
  if (flags.init_checkpoint.empty()) refuse("--init_checkpoint is needed: weights to begin from.");
  if (!flags.do_train && !flags.do_predict) refuse("Give --do_train, --do_predict or both.");
  if (flags.do_train && flags.train_file.empty()) refuse("--do_train needs --train_file.");
  if (flags.do_predict && flags.predict_file.empty()) refuse("--do_predict needs --predict_file.");
  if (flags.do_eval && !flags.do_predict) refuse("--do_eval needs --do_predict.");
  find_beside(flags, "--config_file", find_config, flags.config_file);
  find_beside(flags, "--vocab_file", find_vocabulary, flags.vocab_file);
}

void check_training(const RunSquadFlags& flags) {
  if (flags.resume && !flags.do_train) refuse("--resume needs --do_train.");
  if (!flags.do_train) return;
  if (flags.gradient_accumulation_steps > flags.train_batch_size) {
    refuse(fmt::format("--gradient_accumulation_steps: {} is more than --train_batch_size {}.",
                       flags.gradient_accumulation_steps, flags.train_batch_size));
  }
  if (flags.num_train_epochs < 1) refuse("--num_train_epochs: give one at least.");
  if (flags.learning_rate <= 0) refuse("--learning_rate must be above 0.");
}

/// [CLS], two [SEP] and a token of the document are in every window. The reference cuts questions
/// to --max_query_length alone, and never ends where one leaves no room.
void leave_room(RunSquadFlags& flags) {
  constexpr uint32_t kOthers = 4;
  const uint32_t most = flags.windows.max_seq_length - kOthers;
  if (flags.windows.max_query_length <= most) return;
  flags.windows.max_query_length = most;
  flags.notes.push_back(
      fmt::format("--max_seq_length {} leaves room for questions of {} tokens at most.",
                  flags.windows.max_seq_length, most));
}

/// Flags of this name elsewhere, and here.
constexpr std::array<std::pair<std::string_view, std::string_view>, 13> kNames = {{
    {"--out", "--output_dir"},
    {"--model", "--init_checkpoint"},
    {"--train", "--train_file"},
    {"--batch-size", "--train_batch_size"},
    {"--accumulation", "--gradient_accumulation_steps"},
    {"--learning-rate", "--learning_rate"},
    {"--warmup", "--warmup_proportion"},
    {"--epochs", "--num_train_epochs"},
    {"--max-steps", "--max_steps"},
    {"--max-seq-length", "--max_seq_length"},
    {"--doc-stride", "--doc_stride"},
    {"--max-query-length", "--max_query_length"},
    {"--max-answer-length", "--max_answer_length"},
}};

/// What is said of devices elsewhere, and here. Not by words: a file's path may have one, too.
constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kDevices = {{
    {"--device cuda", "--device gpu"},
    {"cpu, cuda or mlu", "cpu, gpu or mlu"},
    {"(cuda:1)", "(gpu:1)"},
}};

/// Whether a flag's name may have this character.
bool is_of_name(char character) {
  return character == '-' || character == '_' ||
         std::isalnum(static_cast<unsigned char>(character)) != 0;
}

}  // namespace

void add_run_squad_flags(CLI::App& command, RunSquadFlags& flags) {
  // Of a flag given twice the last counts, as in the reference.
  command.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_files(command, flags);
  add_training(command, flags);
  add_answers(command, flags);
  add_device(command, flags);
  add_own(command, flags);
  add_ignored(command, flags);
  command.allow_extras();  // refuse_unknown names the nearest
}

void check_run_squad_flags(const CLI::App& command, RunSquadFlags& flags) {
  refuse_unknown(command);
  check_files(flags);
  check_training(flags);
  leave_room(flags);
}

std::string with_names_of_run_squad(const std::string& sentence) {
  std::string text;
  for (size_t begin = 0, end = 0; begin < sentence.size(); begin = end) {
    const bool inside = is_of_name(sentence[begin]);
    for (end = begin; end < sentence.size() && is_of_name(sentence[end]) == inside;) ++end;
    const std::string_view word = std::string_view(sentence).substr(begin, end - begin);
    const auto* const found = std::find_if(kNames.begin(), kNames.end(),
                                           [&](const auto& names) { return names.first == word; });
    text += found == kNames.end() ? word : found->second;
  }
  for (const auto& [elsewhere, here] : kDevices) {
    for (size_t at = 0; (at = text.find(elsewhere, at)) != std::string::npos; at += here.size()) {
      text.replace(at, elsewhere.size(), here);
    }
  }
  return text;
}

}  // namespace bertrand::cli
