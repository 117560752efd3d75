#include "answering.h"

#include <spdlog/spdlog.h>

#include "predict/predictor.h"
#include "progress.h"
#include "squad/question_list.h"

namespace bertrand::cli {

void add_answering_flags(CLI::App& command, AnsweringFlags& flags) {
  add_model_flags(command, flags.model);
  add_window_flags(command, flags.windows);
  add_answer_flags(command, flags.answers);
  command.add_option("--batch-tokens", flags.batch_tokens, "Tokens computed at once")
      ->check(CLI::Range(1, 1 << 20))
      ->type_name("NUMBER")
      ->capture_default_str();
}

bool may_have_no_answer(const AnsweringFlags& flags, const Dataset& dataset) {
  return flags.answers.no_answer.value_or(dataset.has_impossible);
}

std::vector<Prediction> answer_all(const CLI::App& command, const AnsweringFlags& flags,
                                   const Dataset& dataset) {
  PredictOptions options;
  options.windows = flags.windows;
  Model model = load_model(command, flags.model, options.windows);
  options.answers = flags.answers.options;
  options.answers.allow_no_answer = may_have_no_answer(flags, dataset);
  options.batch_tokens = flags.batch_tokens;
  options.threads = chosen_threads(flags.model.threads);
  options.on_windows = [](const WindowReport& report) {
    if (!report.empty_contexts.empty()) {
      spdlog::warn("The context of {} is empty; the answer is \"\".",
                   question_list(report.empty_contexts));
    }
  };
  options.model = find_model(flags.model.path).string();
  CountProgress progress("windows");
  return predict(dataset, model.tokenizer(), model.engine(), options,
                 [&](size_t done, size_t all) { progress.show(done, all); });
}

}  // namespace bertrand::cli
