#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "checkpoint/pickle.h"

namespace bertrand {

/// Which dictionary of a pickle is the model's state.
struct TorchModel {
  PickledObjects::Id id = 0;  ///< the pickle's root where no dictionary holds tensors
  size_t steps = 0;           ///< entries looked at: each dictionary and list once
  std::string key = {};       ///< under which it lies, "last.state_dict"; empty for the root
  /// Keys of other dictionaries with as many tensors by names of a BERT, none of an optimizer.
  std::vector<std::string> others = {};
};

/// Of all dictionaries within reach the one with the most tensors by names of a BERT (see names.h).
/// Where several have as many, or none has any: the one under the likeliest keys, such as "model"
/// and "state_dict". What lies under an optimizer's keys is behind all others, as optimizers may
/// keep their moments under the parameters' names. Throws Error (bad_input) naming `where` where
/// there are more than `most_tensors`.
TorchModel find_torch_model(const PickledObjects& objects, const std::string& where,
                            size_t most_tensors);

[[noreturn]] void refuse_many_tensors(const std::string& where);

}  // namespace bertrand
