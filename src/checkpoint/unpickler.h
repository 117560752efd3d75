#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "checkpoint/pickle.h"
#include "checkpoint/pickle_globals.h"

namespace bertrand {

/// The machine that a pickle is a program for: a stack and a memo of objects.
class Unpickler {
 public:
  using Id = PickledObjects::Id;
  using Object = PickledObjects::Object;

  /// `spent`: bytes of objects that were built before, and then of these, too.
  Unpickler(Cursor& cursor, const std::string& where, size_t& spent)
      : cursor_(cursor), where_(where), spent_(spent) {}

  PickledObjects run() {
    while (step()) {
    }
    return std::move(result_);
  }

 private:
  static constexpr size_t kMostMemory = 16 << 20;  // of all objects, in bytes

  bool step();
  bool constant(uint8_t opcode);
  bool container(uint8_t opcode);
  bool memo(uint8_t opcode);
  bool build(uint8_t opcode);

  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorCode::bad_input, where_ + ": " + what + " (byte " +
                                          std::to_string(cursor_.at()) + " of the pickle).");
  }
  [[noreturn]] void damaged(const std::string& what) const {
    refuse("the pickle " + what + "; the file is damaged or not a PyTorch checkpoint");
  }

  void spend(size_t bytes) {
    spent_ += bytes;
    if (spent_ > kMostMemory) {
      refuse("the pickle builds more objects than the " + std::to_string(kMostMemory >> 20) +
             " MB of them that are read; save the model's state_dict() alone");
    }
  }

  void push(Id id) {
    spend(sizeof id);
    stack_.push_back(id);
  }
  void make(Object object) {
    spend(sizeof object);
    result_.objects_.push_back(std::move(object));
    push(static_cast<Id>(result_.objects_.size() - 1));
  }
  /// The same for values that come again and again, as in a list of a whole run's losses: they are
  /// kept once.
  template <typename Kind>
  void make_once(std::optional<Id>& place, Kind value) {
    if (place) {
      push(*place);
      return;
    }
    make(value);
    place = top();
  }
  void make_number(int64_t value) {
    if (value >= 0 && value < static_cast<int64_t>(numbers_.size())) {
      make_once(numbers_[static_cast<size_t>(value)], value);
    } else {
      make(value);
    }
  }
  void make_bool(bool value) { make_once(bools_[value ? 1 : 0], value); }

  Id pop() {
    if (stack_.empty()) damaged("takes more from its stack than there is");
    const Id id = stack_.back();
    stack_.pop_back();
    return id;
  }
  Id top() {
    const Id id = pop();
    stack_.push_back(id);
    return id;
  }
  Object& object(Id id) { return result_.objects_[id]; }
  template <typename Kind>
  Kind& expect(Id id, const char* what) {
    auto* found = std::get_if<Kind>(&object(id));
    if (found == nullptr) damaged(std::string("has something else where there should be ") + what);
    return *found;
  }
  /// All objects above the last mark, in order; the mark is taken too.
  std::vector<Id> pop_to_mark() {
    size_t begin = stack_.size();
    while (begin > 0 && !std::holds_alternative<PickledObjects::Mark>(object(stack_[begin - 1]))) {
      --begin;
    }
    if (begin == 0) damaged("has no mark where there should be one");
    std::vector<Id> items(stack_.begin() + static_cast<std::ptrdiff_t>(begin), stack_.end());
    stack_.resize(begin - 1);
    return items;
  }
  void make_list(size_t count) {
    std::vector<Id> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    spend(count * sizeof(Id));
    make(PickledObjects::List{std::move(items)});
  }
  /// The items of a list; paid for, so that copying a long one again and again comes to an end.
  std::vector<Id> copy(Id id, const char* what) {
    const auto& items = expect<PickledObjects::List>(id, what).items;
    spend(items.size() * sizeof(Id));
    return items;
  }
  void append(const std::vector<Id>& items) {
    auto& list = expect<PickledObjects::List>(top(), "a list").items;
    spend(items.size() * sizeof(Id));
    list.insert(list.end(), items.begin(), items.end());
  }
  void set_items(const std::vector<Id>& items) {
    if (items.size() % 2 != 0) damaged("has a key without a value");
    auto& dictionary = expect<PickledObjects::Dictionary>(top(), "a dictionary").items;
    spend(items.size() * sizeof(Id));
    for (size_t i = 0; i < items.size(); i += 2) dictionary.emplace_back(items[i], items[i + 1]);
  }
  void make_text(uint64_t bytes) { make(PickledObjects::Text{cursor_.text(bytes)}); }
  void make_long(uint64_t bytes);
  void make_decimal(std::string_view text);
  void make_global(std::string_view module, std::string_view name);
  void remember(uint64_t index);
  void recall(uint64_t index);

  void reduce();
  PickleBuilder builder_of(Id id);
  void make_dictionary(const std::vector<Id>& arguments);
  void make_tensor(const std::vector<Id>& arguments, bool has_type);
  void load_storage();
  std::vector<int64_t> numbers(Id id);
  uint64_t count(Id id);

  Cursor& cursor_;
  const std::string& where_;
  PickledObjects result_;
  std::vector<Id> stack_;
  std::vector<std::optional<Id>> memo_;
  size_t& spent_;
  std::optional<Id> none_;
  std::optional<Id> mark_;
  std::optional<Id> fraction_;
  std::array<std::optional<Id>, 2> bools_;
  std::array<std::optional<Id>, 256> numbers_;
};

}  // namespace bertrand
