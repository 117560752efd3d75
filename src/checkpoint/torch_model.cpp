#include "checkpoint/torch_model.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "checkpoint/names.h"

namespace bertrand {
namespace {

using Id = PickledObjects::Id;

/// Keys under which training programs keep the state dictionary, the likeliest first.
constexpr std::array<std::string_view, 6> kModelKeys = {
    "state_dict", "model_state_dict", "model", "module", "net", "bert"};

/// What a key of an optimizer's state has in it, in small letters.
constexpr std::array<std::string_view, 5> kOptimizerKeys = {"optim", "moment", "exp_avg", "grad",
                                                            "adam"};
constexpr std::string_view kAverage = "ema";  // of the weights, beside the weights

std::string lower(std::string_view key) {
  constexpr size_t kLooked = 64;
  std::string text(key.substr(0, kLooked));
  std::transform(text.begin(), text.end(), text.begin(), [](char letter) {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
  });
  return text;
}

bool is_of_optimizer(std::string_view key) {
  const std::string text = lower(key);
  return text == "m" || text == "v" ||
         std::any_of(kOptimizerKeys.begin(), kOptimizerKeys.end(),
                     [&](std::string_view part) { return text.find(part) != text.npos; });
}

/// From 1, the likeliest, to 8.
uint64_t rank_of(std::string_view key) {
  const auto place = std::find(kModelKeys.begin(), kModelKeys.end(), key) - kModelKeys.begin();
  return static_cast<uint64_t>(place) + (lower(key).starts_with(kAverage) ? 2 : 1);
}

/// How a dictionary or list is reached.
struct Way {
  Id id = 0;
  unsigned depth = 0;
  bool of_optimizer = false;
  uint64_t ranks = 0;  // of its keys, four bits each, the first highest
};

class ModelFinder {
 public:
  ModelFinder(const PickledObjects& objects, const std::string& where, size_t most_tensors)
      : objects_(objects), where_(where), most_tensors_(most_tensors) {}

  TorchModel find() {
    seen_.resize(objects_.all().size());
    reach({objects_.root()});
    for (; !open_.empty(); open_.pop_front()) {
      const Way way = open_.front();
      if (const auto* dictionary = objects_.get<PickledObjects::Dictionary>(way.id)) {
        look(way, *dictionary);
      } else if (const auto* list = objects_.get<PickledObjects::List>(way.id)) {
        steps_ += list->items.size();
        for (const Id item : list->items) reach(step(way, item, ""));
      }
    }
    return {best_ ? best_->way.id : objects_.root(), steps_};
  }

 private:
  struct Candidate {
    Way way;
    size_t known = 0;  // tensors that have a place in a BERT

    bool operator<(const Candidate& other) const {
      return std::tuple(way.of_optimizer, other.known, way.ranks) <
             std::tuple(other.way.of_optimizer, known, other.way.ranks);
    }
  };

  static Way step(const Way& from, Id to, std::string_view key) {
    constexpr unsigned kRanks = 16;
    Way way{to, from.depth + 1, from.of_optimizer || is_of_optimizer(key), from.ranks};
    if (from.depth < kRanks) way.ranks |= rank_of(key) << 4 * (kRanks - 1 - from.depth);
    return way;
  }

  bool holds_others(Id id) const {
    return objects_.get<PickledObjects::Dictionary>(id) != nullptr ||
           objects_.get<PickledObjects::List>(id) != nullptr;
  }

  void reach(const Way& way) {
    if (holds_others(way.id) && !seen_[way.id]) {
      seen_[way.id] = true;
      open_.push_back(way);
    }
  }

  void look(const Way& way, const PickledObjects::Dictionary& dictionary) {
    steps_ += dictionary.items.size();
    size_t known = 0;
    bool has_tensors = false;
    for (const auto& [key, value] : dictionary.items) {
      const auto* text = objects_.get<PickledObjects::Text>(key);
      const std::string_view name = text == nullptr ? std::string_view() : text->text;
      if (objects_.get<PickledObjects::Tensor>(value) == nullptr) {
        if (holds_others(value)) reach(step(way, value, name));
        continue;
      }
      if (++tensors_ > most_tensors_) refuse_many_tensors(where_);
      has_tensors = true;
      if (name.size() <= kMostName && model_name(name)) ++known;
    }
    const Candidate candidate{way, known};
    if (has_tensors && (!best_ || candidate < *best_)) best_ = candidate;
  }

  static constexpr size_t kMostName = 512;

  const PickledObjects& objects_;
  const std::string& where_;
  size_t most_tensors_;
  std::deque<Way> open_;
  std::vector<bool> seen_;
  std::optional<Candidate> best_;
  size_t tensors_ = 0;
  size_t steps_ = 0;
};

}  // namespace

TorchModel find_torch_model(const PickledObjects& objects, const std::string& where,
                            size_t most_tensors) {
  return ModelFinder(objects, where, most_tensors).find();
}

void refuse_many_tensors(const std::string& where) {
  throw Error(ErrorCode::bad_input, where + ": has more tensors than a checkpoint can have.");
}

}  // namespace bertrand
