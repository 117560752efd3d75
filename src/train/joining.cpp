#include "train/joining.h"

#include <fmt/format.h>

#include "base/error.h"

namespace bertrand {
namespace {

Facts facts_of_engine(const FineTuneOptions& options) {
  return {{"the program's version", options.program_version},
          {"what joins them", options.joined_by},
          {"what computes", options.engine},
          {"--device", options.device.substr(0, options.device.find(':'))},
          {"--dropout-key", options.dropout_key}};
}

}  // namespace

std::unique_ptr<ProcessGroup> joined(const FineTuneOptions& options) {
  const ProcessPlace& place = options.launch.place;
  if (place.count == 1) {
    return nullptr;
  }
  if (!options.make_group) {
    throw Error(ErrorCode::usage,
                fmt::format("This is rank {} of {} processes, but nothing here joins them. Run one "
                            "process (without launch, and without variables such as WORLD_SIZE).",
                            place.rank, place.count));
  }
  check_alike(options.meeting.get(), facts_of_engine(options));
  return options.make_group(options.launch);
}

Facts facts_of(const FineTuneOptions& options, const RunState& state) {
  Facts facts = facts_of_engine(options);
  facts.emplace_back("the recipe", state.recipe.name);
  for (const RecipeField& field : recipe_fields()) {
    facts.emplace_back(flag_of(field.name), recipe_value(state.recipe, field.name));
  }
  facts.emplace_back("the number of steps made", std::to_string(state.steps));
  facts.emplace_back("--snapshot-every", std::to_string(options.run.snapshot_every));
  facts.emplace_back("--stop-after-steps", std::to_string(options.run.stop_after_steps));
  facts.emplace_back("the data's fingerprint", state.data_fingerprint);
  facts.emplace_back("the model's fingerprint", state.model_fingerprint);
  return facts;
}

}  // namespace bertrand
