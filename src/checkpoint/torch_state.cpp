#include "checkpoint/torch_state.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"

namespace bertrand {
namespace {

using Id = PickledObjects::Id;

constexpr size_t kMostDepth = 8;
constexpr size_t kMostName = 512;
constexpr size_t kMostTensors = 1 << 16;
constexpr size_t kMostNames = 8 << 20;  // bytes of all tensors' names, shapes and strides

/// Keys under which training programs keep the state dictionary, the likeliest first.
constexpr std::array<std::string_view, 6> kModelKeys = {
    "state_dict", "model_state_dict", "model", "module", "net", "bert"};

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
    const Id model = find_model(objects_.root());
    visited_.insert(model);
    collect(objects_.root(), "", /*depth=*/0);
    if (const auto* dictionary = objects_.get<PickledObjects::Dictionary>(model)) {
      collect_model(*dictionary);
    }
    if (repeats_storages(needed_, held_)) {
      throw Error(ErrorCode::bad_input,
                  where_ +
                      ": its tensors repeat what lies in their storages again and again; the "
                      "file is damaged.");
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
  bool has_tensors(Id id) const {
    const auto* dictionary = objects_.get<PickledObjects::Dictionary>(id);
    return dictionary != nullptr &&
           std::any_of(dictionary->items.begin(), dictionary->items.end(), [&](const auto& item) {
             return objects_.get<PickledObjects::Tensor>(item.second) != nullptr;
           });
  }

  /// The dictionary with the model's tensors at or below `id`.
  Id find_model(Id id) const {
    for (size_t depth = 0; depth < kMostDepth && !has_tensors(id); ++depth) {
      const auto* dictionary = objects_.get<PickledObjects::Dictionary>(id);
      if (dictionary == nullptr) {
        return id;
      }
      std::optional<Id> next;
      for (const std::string_view key : kModelKeys) {
        for (const auto& [name, value] : dictionary->items) {
          const auto* text = objects_.get<PickledObjects::Text>(name);
          const bool fits = text != nullptr && text->text == key &&
                            objects_.get<PickledObjects::Dictionary>(value) != nullptr;
          if (fits && !next) next = value;
        }
      }
      for (const auto& [name, value] : dictionary->items) {
        if (!next && has_tensors(value)) next = value;
      }
      if (!next) {
        return id;
      }
      id = *next;
    }
    return id;
  }

  void collect_model(const PickledObjects::Dictionary& dictionary) {
    std::unordered_map<std::string, size_t> places;
    for (const auto& [key, value] : dictionary.items) {
      const std::string name = key_text(objects_, key);
      const auto* tensor = objects_.get<PickledObjects::Tensor>(value);
      if (tensor == nullptr) {
        collect(value, name, /*depth=*/1);
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

  /// Everything at or below `id` that is a tensor and not the model's.
  void collect(Id id, const std::string& name, size_t depth) {
    if (const auto* tensor = objects_.get<PickledObjects::Tensor>(id)) {
      if (checked_size(tensor->shape)) {
        state_.others.push_back({name, tensor->type, tensor->shape});
        count(state_.others.back(), 0);
      }
      return;
    }
    if (depth > kMostDepth || !visited_.insert(id).second || name.size() > kMostName) {
      return;
    }
    const std::string prefix = name.empty() ? "" : name + ".";
    if (const auto* dictionary = objects_.get<PickledObjects::Dictionary>(id)) {
      for (const auto& [key, value] : dictionary->items) {
        collect(value, prefix + key_text(objects_, key), depth + 1);
      }
    } else if (const auto* list = objects_.get<PickledObjects::List>(id)) {
      for (size_t i = 0; i < list->items.size(); ++i) {
        collect(list->items[i], prefix + std::to_string(i), depth + 1);
      }
    }
  }

  /// Bounds what is kept of tensors; `more` are bytes beside the name and shape.
  void count(const TensorInfo& info, size_t more) {
    names_ += info.name.size() + sizeof(int64_t) * info.shape.size() + more;
    if (state_.infos.size() + state_.others.size() >= kMostTensors || names_ > kMostNames) {
      throw Error(ErrorCode::bad_input, where_ + ": has more tensors than a checkpoint can have.");
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
    if (static_cast<uint64_t>(*size) > elements) refuse("repeats the elements of its storage");
    const uint64_t before = storage.begin * width;
    checked.begin = before + (*size > 0 ? tensor.offset * size_of(tensor.type) : 0);
    checked.end = *size > 0 ? before + (last + 1) * size_of(tensor.type) : checked.begin;
    if (seen_.insert(storage.key).second) held_ += bytes;
    if (__builtin_add_overflow(needed_, checked.end - checked.begin, &needed_)) {
      refuse("lies outside its storage");
    }
    return checked;
  }

  const PickledObjects& objects_;
  const std::string& where_;
  const std::function<uint64_t(const std::string&)>& storage_bytes_;
  TorchState state_;
  std::unordered_set<Id> visited_;
  size_t names_ = 0;
  std::unordered_set<std::string_view> seen_;  // keys of storages
  uint64_t held_ = 0;                          // bytes of these
  uint64_t needed_ = 0;                        // bytes of them that tensors span
};

template <size_t kWidth>
void copy_element(const std::byte* from, std::byte* to, bool swap) {
  for (size_t i = 0; i < kWidth; ++i) {
    to[i] = from[swap ? kWidth - 1 - i : i];
  }
}

/// Walks the index of the tensor like an odometer; the last dimension is the inner loop.
template <size_t kWidth>
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
      copy_element<kWidth>(from + element * kWidth, out, swap);
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
  switch (size_of(info.type)) {
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
