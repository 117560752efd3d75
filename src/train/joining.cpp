#include "train/joining.h"

#include <map>
#include <set>
#include <string>
#include <vector>

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

/// Where a process computes.
struct Place {
  std::string machine, card, device;
};

std::vector<Place> places_of_all(ProcessGroup& group, const Place& own) {
  std::vector<Place> places(group.place().count);
  places[group.place().rank] = own;
  for (unsigned rank = 0; rank < places.size(); ++rank) {
    for (std::string* text : {&places[rank].machine, &places[rank].card, &places[rank].device}) {
      broadcast_text(group, *text, rank);
    }
  }
  return places;
}

/// NCCL and CNCL join no two processes of one card. Which it is neither its number nor the
/// variables tell: a launcher may show each process another card as its first.
void check_cards(const std::vector<Place>& places) {
  std::map<std::string, std::map<std::string, unsigned>> taken;  // by machine and card: the rank
  for (unsigned rank = 0; rank < places.size(); ++rank) {
    const auto& [machine, card, device] = places[rank];
    if (card.empty()) continue;
    const auto [other, is_free] = taken[machine].emplace(card, rank);
    if (is_free) continue;
    std::set<std::string> cards;
    unsigned processes = 0;
    for (const Place& place : places) {
      if (place.machine != machine) continue;
      cards.insert(place.card);
      ++processes;
    }
    throw Error(
        ErrorCode::usage,
        fmt::format("{} processes of a machine have {} card{}: ranks {} and {} would both compute "
                    "on {}. Start as many as there are cards (launch --nproc {}, BERTRAND_CARDS={} "
                    "for the scripts), and give --device {} no number, so that each takes its own.",
                    processes, cards.size(), cards.size() == 1 ? "" : "s", other->second, rank,
                    device, cards.size(), cards.size(), device.substr(0, device.find(':'))));
  }
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
  ProcessGroup* const meeting = options.meeting.get();
  check_alike(meeting, facts_of_engine(options));
  if (meeting != nullptr) {
    const auto places = places_of_all(*meeting, {options.machine, options.card, options.device});
    together(meeting, [&] { check_cards(places); });
  }
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
