#include "train/run_report.h"

#include <nlohmann/json.hpp>

namespace bertrand {

std::string run_report_to_json(const RunReport& report, const RunState& state) {
  using Json = nlohmann::ordered_json;
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? Json() : Json(text);
  };
  Json json = {{"program", "bertrand " + report.program_version},
               {"libraries", report.library_versions},
               {"finished", report.finished},
               {"begun", report.begun},
               {"ended", text_or_null(report.ended)},
               {"model", report.model},
               {"model_fingerprint", state.model_fingerprint},
               {"train", report.train},
               {"data_fingerprint", state.data_fingerprint},
               {"dev", text_or_null(report.dev)},
               {"questions", report.examples},
               {"questions_skipped", report.skipped},
               {"questions_about_empty_contexts", report.empty_contexts},
               {"windows", report.windows},
               {"recipe", state.recipe.name},
               {"seed", state.recipe.seed},
               {"precision", recipe_value(state.recipe, "precision")},
               {"engine", report.engine},
               {"device", report.device},
               {"dropout_key", state.dropout_key},
               {"threads", state.threads},
               {"processes", state.processes},
               {"windows_a_step", uint64_t{state.processes} * state.recipe.batch_size},
               {"steps", state.steps},
               {"steps_planned", report.steps_planned},
               {"training_seconds", state.seconds},
               {"final_loss", state.steps == 0 ? Json() : Json(state.mean_loss)}};
  if (report.metrics) {
    json["exact_match"] = report.metrics->all.exact_match;
    json["f1"] = report.metrics->all.f1;
    json["evaluation_seconds"] = report.evaluation_seconds;
  }
  json["machine"] = {{"processor", report.machine.processor},
                     {"cpus", report.machine.cpus},
                     {"memory_gib", report.machine.memory_gib},
                     {"system", report.machine.system},
                     {"compiler", report.machine.compiler}};
  return json.dump(2) + "\n";
}

}  // namespace bertrand
