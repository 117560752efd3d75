#include "squad/windows.h"

#include <filesystem>
#include <memory>
#include <string>

#include <spdlog/spdlog.h>

#include "commands.h"
#include "common.h"
#include "predict/model_tokenizer.h"
#include "squad/dataset.h"
#include "squad/question_list.h"
#include "squad/window_table.h"
#include "text/tokenizer.h"

namespace bertrand::cli {
namespace {

struct WindowFlags {
  std::filesystem::path data;
  std::filesystem::path vocabulary;
  bool cased = false;
  bool uncased = false;
  WindowOptions options;
  unsigned threads = 0;
};

void run(const WindowFlags& flags) {
  const auto vocabulary = open_vocabulary(flags.vocabulary);
  TokenizerOptions options;
  options.lower_case = flags.uncased;
  options.behaviour = TokenizerOptions::Behaviour::reference;
  const Tokenizer tokenizer(vocabulary, options);
  const Dataset dataset = Dataset::load(flags.data);
  const unsigned threads = chosen_threads(flags.threads);
  const WindowSet windows = make_windows(dataset, tokenizer, flags.options, threads);
  for (const std::string& met : sentences_of(windows.report(), dataset.where)) {
    spdlog::warn("{}", met);
  }
  write_window_table(dataset, windows, threads, print_result);
  spdlog::info("{} windows of {} questions; {} skipped, {} about an empty context.", windows.size(),
               dataset.examples.size(), windows.report().skipped.size(),
               windows.report().empty_contexts.size());
}

}  // namespace

void add_windows(CLI::App& app) {
  auto* command = app.add_subcommand(
      "windows", "Print the windows that the questions of a SQuAD file are cut into, as checksums");
  const auto flags = std::make_shared<WindowFlags>();
  command->add_option("--data", flags->data, "SQuAD file, v1.1 or v2.0; - for standard input")
      ->required()
      ->type_name("FILE");
  command->add_option("--vocab", flags->vocabulary, "Vocabulary, a word piece a line")
      ->required()
      ->type_name("FILE");
  auto* letters = command->add_option_group("letters");
  letters->add_flag("--cased", flags->cased, "Keep case and accents");
  letters->add_flag("--uncased", flags->uncased, "Lower-case and strip accents");
  letters->require_option(1);
  command->add_flag("--train", flags->options.training,
                    "Find each answer's place; a question must have exactly one answer");
  add_window_flags(*command, flags->options);
  add_threads_flag(*command, flags->threads);
  command->callback([flags] { run(*flags); });
}

}  // namespace bertrand::cli
