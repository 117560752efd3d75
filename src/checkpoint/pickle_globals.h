#pragma once

#include <optional>
#include <string_view>

#include "checkpoint/tensor.h"

namespace bertrand {

/// What the names stand for that a checkpoint may use. Nothing is called: each builds data.
enum class PickleBuilder {
  dictionary,      ///< OrderedDict and Counter, from nothing, a dictionary or a list of pairs
  empty,           ///< defaultdict, from the type of what is not there: items are set later
  list,            ///< torch.Size, list and set: the items given
  storage,         ///< a type of storage, in persistent ids
  data_type,       ///< torch.float32 and so on, a value by itself
  tensor,          ///< _rebuild_tensor(storage, offset, shape, strides)
  tensor_of_type,  ///< _rebuild_tensor_v3: the type is the seventh argument
  of_type,         ///< _rebuild_from_type_v2(builder, type, its arguments, attributes)
  same,            ///< _rebuild_parameter(tensor, ...), encode(text, ...): the first argument
  ignored,         ///< torch.device, a number of NumPy's: of no meaning here, and None
};

struct PickleGlobal {
  std::string_view module;
  std::string_view name;
  PickleBuilder builder;
  std::optional<DataType> type = std::nullopt;
};

/// The place of a name in the table; empty where it is not allowed.
std::optional<size_t> find_pickle_global(std::string_view module, std::string_view name);
const PickleGlobal& pickle_global(size_t place);

}  // namespace bertrand
