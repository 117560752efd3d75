#include <vector>

#include "checkpoint/pickle_globals.h"
#include "checkpoint/unpickler.h"

namespace bertrand {

namespace {

constexpr size_t kMostDimensions = 64;

}  // namespace

void Unpickler::reduce() {
  std::vector<Id> arguments = copy(pop(), "arguments");
  PickleBuilder builder = builder_of(pop());
  if (builder == PickleBuilder::of_type) {  // (builder, type, its arguments, attributes)
    if (arguments.size() < 3) damaged("has a tensor with attributes that lacks its values");
    builder = builder_of(arguments[0]);
    arguments = copy(arguments[2], "arguments");
  }
  switch (builder) {
    case PickleBuilder::dictionary:
      make_dictionary(arguments);
      break;
    case PickleBuilder::empty:
      make(PickledObjects::Dictionary{});
      break;
    case PickleBuilder::list:
    case PickleBuilder::same:
      if (arguments.empty()) {
        make(PickledObjects::List{});
      } else {
        push(arguments[0]);
      }
      break;
    case PickleBuilder::tensor:
      make_tensor(arguments, /*has_type=*/false);
      break;
    case PickleBuilder::tensor_of_type:
      make_tensor(arguments, /*has_type=*/true);
      break;
    case PickleBuilder::ignored:
      make_once(none_, PickledObjects::None{});
      break;
    case PickleBuilder::of_type:
    case PickleBuilder::storage:
    case PickleBuilder::data_type:
      damaged("calls a type of storage");
  }
}

PickleBuilder Unpickler::builder_of(Id id) {
  return pickle_global(expect<PickledObjects::Global>(id, "the name of what to build").place)
      .builder;
}

void Unpickler::make_dictionary(const std::vector<Id>& arguments) {
  make(PickledObjects::Dictionary{});
  if (arguments.empty()) return;
  if (std::holds_alternative<PickledObjects::Dictionary>(object(arguments[0]))) {
    const auto items = std::get<PickledObjects::Dictionary>(object(arguments[0])).items;
    spend(items.size() * sizeof items[0]);
    std::get<PickledObjects::Dictionary>(object(top())).items = items;
    return;
  }
  for (const Id pair : copy(arguments[0], "pairs")) {
    const std::vector<Id> items = copy(pair, "a pair");
    if (items.size() != 2) damaged("has a pair that is none");
    set_items(items);
  }
}

uint64_t Unpickler::count(Id id) {
  const int64_t value = expect<int64_t>(id, "a number");
  if (value < 0) damaged("has a size below 0");
  return static_cast<uint64_t>(value);
}

std::vector<int64_t> Unpickler::numbers(Id id) {
  const auto& items = expect<PickledObjects::List>(id, "a shape").items;
  if (items.size() > kMostDimensions) damaged("has a tensor with too many dimensions");
  std::vector<int64_t> values;
  values.reserve(items.size());
  for (const Id item : items) values.push_back(static_cast<int64_t>(count(item)));
  spend(values.size() * sizeof values[0]);
  return values;
}

void Unpickler::make_tensor(const std::vector<Id>& arguments, bool has_type) {
  constexpr size_t kTypeArgument = 6;
  if (arguments.size() < (has_type ? kTypeArgument + 1 : 4)) {
    damaged("has a tensor that lacks its shape");
  }
  PickledObjects::Tensor tensor;
  tensor.storage = arguments[0];
  const auto& storage = expect<PickledObjects::Storage>(tensor.storage, "a storage");
  tensor.type = has_type ? expect<DataType>(arguments[kTypeArgument], "a data type") : storage.type;
  tensor.offset = count(arguments[1]);
  tensor.shape = numbers(arguments[2]);
  tensor.strides = numbers(arguments[3]);
  if (tensor.shape.size() != tensor.strides.size()) damaged("has a tensor without all strides");
  make(std::move(tensor));
}

/// ("storage", type, key, device, elements[, view]) as a persistent id; view, of the older form, is
/// None or (key, offset, elements).
void Unpickler::load_storage() {
  const std::vector<Id> id = copy(pop(), "a persistent id");
  if (id.size() < 5 || expect<PickledObjects::Text>(id[0], "\"storage\"").text != "storage") {
    refuse(
        "the pickle refers to something other than a storage; save the model's state_dict() "
        "alone");
  }
  const PickleGlobal& global =
      pickle_global(expect<PickledObjects::Global>(id[1], "a type of storage").place);
  if (global.builder != PickleBuilder::storage) damaged("has no type of storage");
  PickledObjects::Storage storage;
  storage.bytes_only = !global.type;
  storage.type = global.type.value_or(DataType::u8);
  storage.key = expect<PickledObjects::Text>(id[2], "a storage's key").text;
  storage.size = count(id[4]);
  if (id.size() > 5 && !std::holds_alternative<PickledObjects::None>(object(id[5]))) {
    const std::vector<Id> view = copy(id[5], "a view");
    if (view.size() != 3) damaged("has a view that is none");
    storage.begin = count(view[1]);
    const uint64_t size = count(view[2]);
    if (storage.begin > storage.size || size > storage.size - storage.begin) {
      damaged("has a view behind the end of its storage");
    }
  }
  make(storage);
}

}  // namespace bertrand
