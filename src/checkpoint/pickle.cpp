#include "checkpoint/pickle.h"

#include <algorithm>
#include <charconv>

#include "checkpoint/pickle_globals.h"
#include "checkpoint/unpickler.h"

namespace bertrand {

PickledObjects PickledObjects::parse(Cursor& cursor, const std::string& where) {
  size_t spent = 0;
  return parse(cursor, where, spent);
}

PickledObjects PickledObjects::parse(Cursor& cursor, const std::string& where, size_t& spent) {
  return Unpickler(cursor, where, spent).run();
}

bool Unpickler::step() {
  const uint8_t opcode = cursor_.byte();
  if (opcode == '.') {
    result_.root_ = pop();
    return false;
  }
  if (!constant(opcode) && !container(opcode) && !memo(opcode) && !build(opcode)) {
    refuse("the pickle uses opcode " + std::to_string(opcode) +
           ", which no checkpoint needs; only tensors, numbers, texts, lists and dictionaries are "
           "read");
  }
  return true;
}

bool Unpickler::constant(uint8_t opcode) {
  switch (opcode) {
    case 'N':
      make_once(none_, PickledObjects::None{});
      break;
    case 0x88:
      make_bool(true);
      break;
    case 0x89:
      make_bool(false);
      break;
    case 'K':
      make_number(cursor_.byte());
      break;
    case 'M':
      make_number(cursor_.number<uint16_t>());
      break;
    case 'J':
      make_number(cursor_.number<int32_t>());
      break;
    case 0x8a:
      make_long(cursor_.byte());
      break;
    case 0x8b:
      make_long(cursor_.number<uint32_t>());
      break;
    case 'I':
    case 'L':
      make_decimal(cursor_.line());
      break;
    case 'G':
      cursor_.number<uint64_t>();
      make_once(fraction_, PickledObjects::Fraction{});
      break;
    case 'F':
      cursor_.line();
      make_once(fraction_, PickledObjects::Fraction{});
      break;
    case 'S': {
      std::string_view text = cursor_.line();
      if (text.size() < 2) damaged("has a text without quotes");
      make(PickledObjects::Text{text.substr(1, text.size() - 2)});
      break;
    }
    case 'V':
      make(PickledObjects::Text{cursor_.line()});
      break;
    case 'U':
    case 'C':
    case 0x8c:
      make_text(cursor_.byte());
      break;
    case 'T':
    case 'B':
    case 'X':
      make_text(cursor_.number<uint32_t>());
      break;
    case 0x8d:
    case 0x8e:
    case 0x96:
      make_text(cursor_.number<uint64_t>());
      break;
    default:
      return false;
  }
  return true;
}

bool Unpickler::container(uint8_t opcode) {
  switch (opcode) {
    case '(':
      make_once(mark_, PickledObjects::Mark{});
      break;
    case ')':
    case ']':
    case 0x8f:
      make(PickledObjects::List{});
      break;
    case '}':
      make(PickledObjects::Dictionary{});
      break;
    case 0x85:
      make_list(1);
      break;
    case 0x86:
      make_list(2);
      break;
    case 0x87:
      make_list(3);
      break;
    case 't':
    case 'l':
    case 0x91: {
      std::vector<Id> items = pop_to_mark();
      spend(items.size() * sizeof(Id));
      make(PickledObjects::List{std::move(items)});
      break;
    }
    case 'd': {
      const std::vector<Id> items = pop_to_mark();
      make(PickledObjects::Dictionary{});
      set_items(items);
      break;
    }
    case 'a':
      append({pop()});
      break;
    case 'e':
    case 0x90:
      append(pop_to_mark());
      break;
    case 's': {
      const Id value = pop();
      const Id key = pop();
      set_items({key, value});
      break;
    }
    case 'u':
      set_items(pop_to_mark());
      break;
    default:
      return false;
  }
  return true;
}

bool Unpickler::memo(uint8_t opcode) {
  switch (opcode) {
    case 0x80:
      cursor_.byte();
      break;  // the protocol
    case 0x95:
      cursor_.number<uint64_t>();
      break;  // a frame, which does not matter in memory
    case '0':
      pop();
      break;
    case '1':
      pop_to_mark();
      break;
    case '2':
      push(top());
      break;
    case 'q':
      remember(cursor_.byte());
      break;
    case 'r':
      remember(cursor_.number<uint32_t>());
      break;
    case 0x94:
      remember(memo_.size());
      break;
    case 'h':
      recall(cursor_.byte());
      break;
    case 'j':
      recall(cursor_.number<uint32_t>());
      break;
    case 'p':
    case 'g': {
      make_decimal(cursor_.line());
      const uint64_t index = count(pop());
      opcode == 'p' ? remember(index) : recall(index);
      break;
    }
    default:
      return false;
  }
  return true;
}

bool Unpickler::build(uint8_t opcode) {
  switch (opcode) {
    case 'c': {
      const std::string_view module = cursor_.line();
      make_global(module, cursor_.line());
      break;
    }
    case 0x93: {
      const std::string_view name = expect<PickledObjects::Text>(pop(), "a name").text;
      make_global(expect<PickledObjects::Text>(pop(), "a module").text, name);
      break;
    }
    case 'i': {  // no checkpoint needs it, but a name that is refused is told
      const std::string_view module = cursor_.line();
      make_global(module, cursor_.line());
      return false;
    }
    case 'R':
      reduce();
      break;
    case 0x81: {  // an object as its class makes it empty, such as a Namespace
      const Id arguments = pop();
      if (builder_of(pop()) != PickleBuilder::ignored) return false;
      expect<PickledObjects::List>(arguments, "arguments");
      make_once(none_, PickledObjects::None{});
      break;
    }
    case 'Q':
      load_storage();
      break;
    case 'P':
      refuse(
          "the pickle was saved with pickle_protocol=0, from which PyTorch cannot load tensors "
          "either; save the model again without that option");
    case 'b':  // attributes of an object, such as the versions of a state dictionary's modules
      pop();
      top();
      break;
    default:
      return false;
  }
  return true;
}

void Unpickler::make_long(uint64_t bytes) {
  const std::string_view text = cursor_.text(bytes);
  if (text.size() > sizeof(int64_t)) {
    make(PickledObjects::Text{text});  // too long to count with; the magic number is one
    return;
  }
  uint64_t value = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    value |= uint64_t{static_cast<uint8_t>(text[i])} << 8 * i;
  }
  if (!text.empty() && text.size() < sizeof value && (static_cast<uint8_t>(text.back()) & 0x80)) {
    value |= ~uint64_t{0} << 8 * text.size();
  }
  make(static_cast<int64_t>(value));
}

void Unpickler::make_decimal(std::string_view text) {
  if (text == "00" || text == "01") {
    make_bool(text == "01");
    return;
  }
  if (text.ends_with('L')) text.remove_suffix(1);
  int64_t value = 0;
  const auto [end, problem] = std::from_chars(text.begin(), text.end(), value);
  if (problem == std::errc::invalid_argument || end != text.end()) {
    damaged("has a number that is none");
  }
  if (problem == std::errc::result_out_of_range) {
    make(PickledObjects::Text{text});  // as in make_long
  } else {
    make_number(value);
  }
}

void Unpickler::make_global(std::string_view module, std::string_view name) {
  const auto place = find_pickle_global(module, name);
  if (!place) {
    refuse("the pickle wants " + printable(module) + "." + printable(name) +
           ", which is neither a tensor nor plain data, and is refused; save the model's "
           "state_dict() alone");
  }
  const PickleGlobal& global = pickle_global(*place);
  if (global.builder == PickleBuilder::data_type) {
    make(*global.type);
  } else {
    make(PickledObjects::Global{*place});
  }
}

void Unpickler::remember(uint64_t index) {
  if (index > memo_.size()) {
    spend(static_cast<size_t>(std::min<uint64_t>(index - memo_.size(), kMostMemory)) *
          sizeof memo_[0]);
  }
  if (index >= memo_.size()) {
    spend(sizeof memo_[0]);
    memo_.resize(static_cast<size_t>(index) + 1);
  }
  memo_[static_cast<size_t>(index)] = top();
}

void Unpickler::recall(uint64_t index) {
  if (index >= memo_.size() || !memo_[static_cast<size_t>(index)]) {
    damaged("refers to an object it has not built");
  }
  push(*memo_[static_cast<size_t>(index)]);
}

}  // namespace bertrand
