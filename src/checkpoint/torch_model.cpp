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
#include "checkpoint/tensor.h"

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
  uint32_t from = 0;   // place of the way to what it lies in
  Id key = 0;          // the last of its keys; of what lies in a list, the list
};

class ModelFinder {
 public:
  ModelFinder(const PickledObjects& objects, const std::string& where, size_t most_tensors)
      : objects_(objects), where_(where), most_tensors_(most_tensors) {}

  TorchModel find() {
    seen_.resize(objects_.all().size());
    reach({objects_.root()});
    for (uint32_t place = 0; place < ways_.size(); ++place) {
      const Id id = ways_[place].id;
      if (const auto* dictionary = objects_.get<PickledObjects::Dictionary>(id)) {
        look(place, *dictionary);
      } else if (const auto* list = objects_.get<PickledObjects::List>(id)) {
        steps_ += list->items.size();
        for (const Id item : list->items) reach(step(place, item, id));
      }
    }
    if (!best_) return {objects_.root(), steps_};
    TorchModel model{best_->way.id, steps_, keys_of(best_->way)};
    for (const Candidate& other : equals_) {
      if (other.known == best_->known && other.way.id != model.id) {
        model.others.push_back(keys_of(other.way));
      }
    }
    return model;
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

  /// A key as a text; empty where it is another object.
  std::string_view text_of(Id key) const {
    const auto* text = objects_.get<PickledObjects::Text>(key);
    return text == nullptr ? std::string_view() : text->text;
  }

  /// "last.state_dict": the last of its keys.
  std::string keys_of(Way way) const {
    constexpr int kMostKeys = 4;
    std::string keys;
    for (int i = 0; i < kMostKeys && way.depth > 0; ++i, way = ways_[way.from]) {
      if (!keys.empty()) keys.insert(0, 1, '.');
      keys.insert(0, printable(text_of(way.key)));
    }
    return keys;
  }

  /// On from what is at `place`.
  Way step(uint32_t place, Id to, Id key) const {
    constexpr unsigned kRanks = 16;
    const Way& from = ways_[place];
    const std::string_view text = text_of(key);
    Way way{to, from.depth + 1, from.of_optimizer || is_of_optimizer(text), from.ranks, place, key};
    if (from.depth < kRanks) way.ranks |= rank_of(text) << 4 * (kRanks - 1 - from.depth);
    return way;
  }

  bool holds_others(Id id) const {
    return objects_.get<PickledObjects::Dictionary>(id) != nullptr ||
           objects_.get<PickledObjects::List>(id) != nullptr;
  }

  void reach(const Way& way) {
    if (holds_others(way.id) && !seen_[way.id]) {
      seen_[way.id] = true;
      ways_.push_back(way);
    }
  }

  void look(uint32_t place, const PickledObjects::Dictionary& dictionary) {
    steps_ += dictionary.items.size();
    size_t known = 0;
    bool has_tensors = false;
    for (const auto& [key, value] : dictionary.items) {
      if (objects_.get<PickledObjects::Tensor>(value) == nullptr) {
        if (holds_others(value)) reach(step(place, value, key));
        continue;
      }
      if (++tensors_ > most_tensors_) refuse_many_tensors(where_);
      has_tensors = true;
      const std::string_view name = text_of(key);
      if (name.size() <= kMostName && model_name(name)) ++known;
    }
    if (has_tensors) consider({ways_[place], known});
  }

  void consider(const Candidate& candidate) {
    if (!best_ || candidate < *best_) best_ = candidate;
    const size_t most = equals_.empty() ? 1 : equals_[0].known;
    if (candidate.way.of_optimizer || candidate.known < most) return;
    if (candidate.known > most) equals_.clear();
    if (equals_.size() < kMostEquals) equals_.push_back(candidate);
  }

  static constexpr size_t kMostName = 512;
  static constexpr size_t kMostEquals = 8;

  const PickledObjects& objects_;
  const std::string& where_;
  size_t most_tensors_;
  std::deque<Way> ways_;  // in the order in which they are found
  std::vector<bool> seen_;
  std::optional<Candidate> best_;
  std::vector<Candidate> equals_;  // those with the most tensors that have a place in a BERT
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
