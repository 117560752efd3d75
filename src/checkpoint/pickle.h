#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "checkpoint/cursor.h"
#include "checkpoint/tensor.h"

namespace bertrand {

/// The objects that a pickle describes, as plain data. An object is its place in `objects`, so that
/// they may refer to each other in circles.
///
/// A pickle is a program. Here it may build numbers, texts, lists, dictionaries, and tensors by the
/// names in the table of pickle_globals.h, and nothing else: any other name is refused, no code is
/// run, and memory is bounded. What the table calls ignored becomes None. Source of the opcodes:
/// CPython, Lib/pickletools.py; of the tensors: PyTorch, torch/_utils.py, torch/serialization.py.
class PickledObjects {
 public:
  using Id = uint32_t;

  struct None {};
  struct Mark {};
  struct Fraction {};  ///< a number that is not whole; of no use here
  struct Text {
    std::string_view text;  ///< in the pickle
  };
  struct List {  ///< or tuple or set
    std::vector<Id> items;
  };
  struct Dictionary {
    std::vector<std::pair<Id, Id>> items;  ///< keys and values, a later one stands for an earlier
  };
  /// What a name stands for; `place` is that in the table of names.
  struct Global {
    size_t place;
  };
  struct Storage {
    DataType type = DataType::u8;
    bool bytes_only = false;  ///< the tensor says the type
    std::string_view key;
    uint64_t size = 0;   ///< elements
    uint64_t begin = 0;  ///< elements before it in the storage of that key (the older form's views)
  };
  struct Tensor {
    Id storage = 0;
    DataType type = DataType::u8;
    uint64_t offset = 0;  ///< elements before the first
    std::vector<int64_t> shape;
    std::vector<int64_t> strides;  ///< elements from one index to the next
  };
  using Object = std::variant<None, Mark, bool, int64_t, Fraction, Text, List, Dictionary, Global,
                              DataType, Storage, Tensor>;

  /// Reads one pickle from `cursor`, up to and with its end. `where` names the file in errors.
  static PickledObjects parse(Cursor& cursor, const std::string& where);

  /// The same of one of several pickles, which share the bounds of their memory: `spent` counts the
  /// bytes of all their objects.
  static PickledObjects parse(Cursor& cursor, const std::string& where, size_t& spent);

  Id root() const { return root_; }
  const Object& operator[](Id id) const { return objects_[id]; }
  const std::deque<Object>& all() const { return objects_; }

  /// The object where it is of this kind, else nullptr.
  template <typename Kind>
  const Kind* get(Id id) const {
    return std::get_if<Kind>(&objects_[id]);
  }

 private:
  friend class Unpickler;
  std::deque<Object> objects_;  // grows without a second copy
  Id root_ = 0;
};

}  // namespace bertrand
