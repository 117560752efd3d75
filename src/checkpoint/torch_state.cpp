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
              const std::function<uint64_t(const std::string&)>& storage_bytes)
      : objects_(objects), where_(where), storage_bytes_(storage_bytes) {}

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
    if (repeats_storages(needed_, held_)) {
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
    const uint64_t needs = std::max<uint64_t>(checked.end - checked.begin, info.bytes());
    if (__builtin_add_overflow(needed_, needs, &needed_)) needed_ = ~uint64_t{0};
    return checked;
  }

  const PickledObjects& objects_;
  const std::string& where_;
  const std::function<uint64_t(const std::string&)>& storage_bytes_;
  TorchState state_;
  std::vector<bool> visited_;  // by dictionary or list
  std::string name_;           // of what collect() looks at
  size_t names_ = 0;
  std::unordered_set<std::string_view> seen_;  // keys of storages
  uint64_t held_ = 0;                          // bytes of these
  uint64_t needed_ = 0;                        // bytes of tensors, or that these span
};

/// An element is of words of `kWord` bytes; complex numbers are of two.
template <size_t kWidth, size_t kWord>
void copy_element(const std::byte* from, std::byte* to, bool swap) {
  for (size_t i = 0; i < kWidth; ++i) {
    to[i] = from[swap ? i / kWord * kWord + (kWord - 1 - i % kWord) : i];
  }
}

/// Walks the index of the tensor like an odometer; the last dimension is the inner loop.
template <size_t kWidth, size_t kWord = kWidth>
void gather_elements(const TensorInfo& info, const std::vector<int64_t>& strides,
                     const std::byte* from, bool swap, std::byte* out) {
  const size_t rank = info.shape.size();
  const int64_t columns = rank == 0 ? 1 : info.shape[rank - 1];
  const int64_t step = rank == 0 ? 1 : strides[rank - 1];
  std::vector<int64_t> index(rank, 0);
  for (int64_t rows = columns == 0 ? 0 : info.size() / columns; rows > 0; --rows) {
    uint64_t place = 0;
    for (size_t i = 0; i + 1 < rank; ++i) {
      place += static_cast<uint64_t>(index[i]) * static_cast<uint64_t>(strides[i]);
    }
    for (int64_t column = 0; column < columns; ++column, out += kWidth) {
      const uint64_t element = place + static_cast<uint64_t>(column) * static_cast<uint64_t>(step);
      copy_element<kWidth, kWord>(from + element * kWidth, out, swap);
    }
    for (size_t i = rank - (rank > 0 ? 1 : 0); i-- > 0;) {
      if (++index[i] < info.shape[i]) break;
      index[i] = 0;
    }
  }
}

}  // namespace

TorchState find_state(const PickledObjects& objects, const std::string& where,
                      const std::function<uint64_t(const std::string& key)>& storage_bytes) {
  return StateFinder(objects, where, storage_bytes).find();
}

bool repeats_storages(uint64_t needed, uint64_t held) {
  constexpr uint64_t kMostOften = 16;
  constexpr uint64_t kFew = 64 << 20;
  return needed > kFew && (needed - kFew) / kMostOften > held;
}

bool is_contiguous(const TensorInfo& info, const TorchTensor& tensor) {
  int64_t expected = 1;
  for (size_t i = info.shape.size(); i-- > 0;) {
    if (info.shape[i] != 1 && tensor.strides[i] != expected) {
      return info.size() == 0;
    }
    expected *= info.shape[i];
  }
  return true;
}

void gather(const TensorInfo& info, const TorchTensor& tensor, std::span<const std::byte> bytes,
            bool big_endian, std::span<std::byte> out) {
  if (out.empty()) {
    return;
  }
  if (info.type == DataType::c64) {
    return gather_elements<8, 4>(info, tensor.strides, bytes.data(), big_endian, out.data());
  }
  if (info.type == DataType::c32) {
    return gather_elements<4, 2>(info, tensor.strides, bytes.data(), big_endian, out.data());
  }
  switch (size_of(info.type)) {
    case 16:
      return gather_elements<16, 8>(info, tensor.strides, bytes.data(), big_endian, out.data());
    case 1:
      return gather_elements<1>(info, tensor.strides, bytes.data(), big_endian, out.data());
    case 2:
      return gather_elements<2>(info, tensor.strides, bytes.data(), big_endian, out.data());
    case 4:
      return gather_elements<4>(info, tensor.strides, bytes.data(), big_endian, out.data());
    default:
      return gather_elements<8>(info, tensor.strides, bytes.data(), big_endian, out.data());
  }
}

}  // namespace bertrand
