#include "answering.h"

#include <optional>

#include <spdlog/spdlog.h>

#include "base/files.h"
#include "predict/predictor.h"
#include "progress.h"
#include "squad/predictions.h"
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

void tell_empty_contexts(const WindowReport& report) {
  if (!report.empty_contexts.empty()) {
    spdlog::warn("The context of {} is empty; the answer is \"\".",
                 question_list(report.empty_contexts));
  }
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
  options.on_windows = tell_empty_contexts;
  options.model = find_model(flags.model.path).string();
  CountProgress progress("windows");
  return predict(dataset, model.tokenizer(), model.engine(), options,
                 [&](size_t done, size_t all) { progress.show(done, all); });
}

void write_answers(const std::filesystem::path& out, const Dataset& dataset,
                   const std::vector<Prediction>& predictions, bool with_no_answer_scores) {
  NewFolder folder(out);
  AtomicFile best(out / "predictions.json");
  write_predictions(best, dataset, predictions);
  AtomicFile n_best(out / "nbest_predictions.json");
  write_n_best(n_best, dataset, predictions);
  std::optional<AtomicFile> scores;
  if (with_no_answer_scores) {
    scores.emplace(out / "null_odds.json");
    write_no_answer_scores(*scores, dataset, predictions);
  }
  best.flush();
  n_best.flush();
  if (scores) scores->flush();
  n_best.commit();
  if (scores) scores->commit();
  best.commit();
  folder.keep();
}

}  // namespace bertrand::cli
