#include "checkpoint/torch_state.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "checkpoint/findings.h"
#include "checkpoint/torch_model.h"

namespace bertrand {
namespace {

using Id = PickledObjects::Id;

constexpr size_t kMostName = 512;
constexpr size_t kMostTensors = 1 << 16;
constexpr size_t kMostNames = 8 << 20;  // bytes of all tensors' names, shapes and strides

std::string key_text(const PickledObjects& objects, Id key) {
  if (const auto* text = objects.get<PickledObjects::Text>(key)) {
    return std::string(text->text.substr(0, kMostName));
  }
  if (const auto* number = objects.get<int64_t>(key)) {
    return std::to_string(*number);
  }
  return "?";
}

class StateFinder {
 public:
  StateFinder(const PickledObjects& objects, const std::string& where,
              const std::function<uint64_t(const std::string&)>& storage_bytes, uint64_t file_bytes)
      : objects_(objects), where_(where), storage_bytes_(storage_bytes), file_bytes_(file_bytes) {}

  TorchState find() {
    const TorchModel model = find_torch_model(objects_, where_, kMostTensors);
    state_.steps = model.steps;
    tell_others(model);
    visited_.resize(objects_.all().size());
    visited_[model.id] = true;
    collect(objects_.root(), "");
    if (const auto* dictionary = objects_.get<PickledObjects::Dictionary>(model.id)) {
      collect_model(*dictionary);
    }
    if (repeats_storages()) {
      throw Error(ErrorCode::bad_input,
                  where_ +
                      ": its tensors repeat what lies in their storages more often than is read; "
                      "save copies of them, {name: tensor.clone()}.");
    }
    if (state_.infos.empty()) {
      throw Error(ErrorCode::bad_input,
                  where_ +
                      ": holds no tensors by name; a checkpoint is a state dictionary, or has "
                      "one under \"model\" or \"state_dict\".");
    }
    return std::move(state_);
  }

 private:
  void tell_others(const TorchModel& model) {
    if (model.others.empty()) return;
    Findings keys;
    for (const std::string& key : model.others) keys.add('"' + key + '"');
    state_.notes.push_back(
        "There is more than one model: that under \"" + model.key + "\" is read, not that under " +
        keys.list() +
        "; to have another, save it by itself (torch.save(torch.load(OLD)[KEY], NEW)).");
  }

  void collect_model(const PickledObjects::Dictionary& dictionary) {
    std::unordered_map<std::string, size_t> places;
    for (const auto& [key, value] : dictionary.items) {
      const std::string name = key_text(objects_, key);
      const auto* tensor = objects_.get<PickledObjects::Tensor>(value);
      if (tensor == nullptr) {
        collect(value, name);
        continue;
      }
      TensorInfo info{name, tensor->type, tensor->shape};
      TorchTensor checked = check(*tensor, info);
      const auto [place, fresh] = places.emplace(name, state_.infos.size());
      if (!fresh) {
        throw Error(ErrorCode::bad_input,
                    where_ + ": has the tensor \"" + printable(name) + "\" twice.");
      }
      count(info, sizeof(int64_t) * checked.strides.size() + checked.storage.size());
      state_.infos.push_back(std::move(info));
      state_.tensors.push_back(std::move(checked));
    }
  }

  /// A dictionary or list whose entries are being looked at.
  struct Open {
    Id id = 0;
    size_t next = 0;       // entry
    size_t name_size = 0;  // bytes of name_ that lead here
  };

  /// Lists everything at or below `root` that is a tensor and not the model's, by the keys that
  /// lead there. Not by calling itself: how deep a pickle goes is not to be trusted.
  void collect(Id root, std::string name) {
    std::vector<Open> way;
    name_ = std::move(name);
    enter(root, way);
    while (!way.empty()) {
      const size_t place = way.back().next++;
      name_.resize(way.back().name_size);
      if (const auto item = entry(way.back().id, place)) {
        append_key(item->first);
        enter(item->second, way);
        ++state_.steps;
      } else {
        way.pop_back();
      }
    }
  }

  void enter(Id id, std::vector<Open>& way) {
    if (const auto* tensor = objects_.get<PickledObjects::Tensor>(id)) {
      if (checked_size(tensor->shape)) {
        state_.others.push_back({name_, tensor->type, tensor->shape});
        count(state_.others.back(), 0);
      }
    } else if (entry(id, 0) && !visited_[id]) {
      visited_[id] = true;
      way.push_back({id, 0, name_.size()});
    }
  }

  /// A key or place, and what is there; empty behind the last, and of what holds nothing.
  std::optional<std::pair<std::string, Id>> entry(Id id, size_t place) const {
    if (const auto* dictionary = objects_.get<PickledObjects::Dictionary>(id);
        dictionary != nullptr && place < dictionary->items.size()) {
      const auto& [key, value] = dictionary->items[place];
      return std::pair(key_text(objects_, key), value);
    }
    if (const auto* list = objects_.get<PickledObjects::List>(id);
        list != nullptr && place < list->items.size()) {
      return std::pair(std::to_string(place), list->items[place]);
    }
    return std::nullopt;
  }

  /// What lies too deep for its keys all to be told is told by the first of them.
  void append_key(const std::string& key) {
    if (name_.size() > kMostName) return;
    if (!name_.empty()) name_ += '.';
    name_ += key;
    if (name_.size() > kMostName) name_.replace(kMostName, std::string::npos, "...");
  }

  /// Bounds what is kept of tensors; `more` are bytes beside the name and shape.
  void count(const TensorInfo& info, size_t more) {
    names_ += info.name.size() + sizeof(int64_t) * info.shape.size() + more;
    if (state_.infos.size() + state_.others.size() >= kMostTensors || names_ > kMostNames) {
      refuse_many_tensors(where_);
    }
  }

  TorchTensor check(const PickledObjects::Tensor& tensor, const TensorInfo& info) {
    const auto refuse = [&](const std::string& what) {
      throw Error(ErrorCode::bad_input, where_ + ": tensor \"" + printable(info.name) + "\" " +
                                            what + "; the file is damaged.");
    };
    const auto& storage = *objects_.get<PickledObjects::Storage>(tensor.storage);
    TorchTensor checked{std::string(storage.key), 0, tensor.strides};
    const std::optional<int64_t> size = checked_size(tensor.shape);
    const uint64_t width = size_of(storage.type);
    const uint64_t bytes = storage_bytes_(checked.storage);
    if (storage.size > bytes / width) {
      refuse("needs a storage of " + std::to_string(storage.size) + " elements, and it has " +
             std::to_string(bytes) + " bytes");
    }
    checked.storage_bytes = storage.size * width;
    const uint64_t elements = (storage.size - storage.begin) * width / size_of(tensor.type);
    uint64_t last = tensor.offset;  // the place of the last element
    for (size_t i = 0; size.value_or(0) > 0 && i < tensor.shape.size(); ++i) {
      uint64_t step = 0;
      if (__builtin_mul_overflow(static_cast<uint64_t>(tensor.shape[i] - 1),
                                 static_cast<uint64_t>(tensor.strides[i]), &step) ||
          __builtin_add_overflow(last, step, &last)) {
        refuse("lies outside its storage");
      }
    }
    if (!size || (*size > 0 && last >= elements)) refuse("lies outside its storage");
    const uint64_t before = storage.begin * width;
    checked.begin = before + (*size > 0 ? tensor.offset * size_of(tensor.type) : 0);
    checked.end = *size > 0 ? before + (last + 1) * size_of(tensor.type) : checked.begin;
    if (seen_.insert(storage.key).second) held_ += bytes;
    // Where strides are 0, as expand() makes them, the tensor has more elements than it spans.
    const uint64_t spans = checked.end - checked.begin;
    const uint64_t needs = std::max<uint64_t>(spans, info.bytes());
    add(needed_, needs);
    add(repeated_, needs - spans);
    return checked;
  }

  static void add(uint64_t& sum, uint64_t more) {
    if (__builtin_add_overflow(sum, more, &sum)) sum = ~uint64_t{0};
  }

  /// Whether to read all tensors takes a time out of all proportion to the file, or to hold one the
  /// memory. Each storage may be read once; what deflate makes of a file is no reason for more.
  bool repeats_storages() const {
    constexpr uint64_t kMostRepeated = 48 << 20;
    constexpr uint64_t kMostOften = 16;
    constexpr uint64_t kFew = 64 << 20;
    return repeated_ > kMostRepeated || needed_ > held_ + kMostOften * file_bytes_ + kFew;
  }

  const PickledObjects& objects_;
  const std::string& where_;
  const std::function<uint64_t(const std::string&)>& storage_bytes_;
  uint64_t file_bytes_;
  TorchState state_;
  std::vector<bool> visited_;  // by dictionary or list
  std::string name_;           // of what collect() looks at
  size_t names_ = 0;
  std::unordered_set<std::string_view> seen_;  // keys of storages
  uint64_t held_ = 0;                          // bytes of these
  uint64_t needed_ = 0;                        // bytes of tensors, or that these span
  uint64_t repeated_ = 0;                      // bytes of tensors beyond those they span
};

}  // namespace

TorchState find_state(const PickledObjects& objects, const std::string& where,
                      const std::function<uint64_t(const std::string& key)>& storage_bytes,
                      uint64_t file_bytes) {
  return StateFinder(objects, where, storage_bytes, file_bytes).find();
}

}  // namespace bertrand
