#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/names.h"
#include "checkpoint/tensor.h"
#include "model/config.h"

namespace bertrand {

/// A tensor of a checkpoint under the name and in the shape it has in the model.
struct Weight {
  TensorInfo info;    ///< name, type and shape in the model
  size_t source = 0;  ///< place among the checkpoint's tensors
  bool transposed = false;
  std::vector<int64_t> stored;  ///< the shape in the checkpoint
  /// Of 8-bit weights: place of the tensor "<name>_scale", a factor for each row.
  std::optional<size_t> scale = std::nullopt;
};

/// The tensors of a checkpoint, matched with the model that a config describes.
struct BertWeights {
  std::vector<Weight> parameters;    ///< of the encoder and the span head, in the model's order
  std::vector<Weight> pooler;        ///< bias and weight, or none
  std::vector<Weight> heads;         ///< cls.* and classifier.*, by name
  std::vector<std::string> buffers;  ///< names of tables that hold no weights
  std::vector<std::string> unknown;  ///< names of tensors that have no place in a BERT
  std::vector<std::string> notes;    ///< what was changed to fit: rows cut
  std::vector<std::string> missing;  ///< names of parameters that are not there
  std::vector<std::string> faults;   ///< what does not fit: mis-shaped, there twice
  std::vector<std::string>
      head_faults;             ///< the same of `heads`, which only those want who keep them
  bool has_span_head = false;  ///< without one it is not in `missing`
  std::string of_no_bert;      ///< not empty where no name is one of a BERT: what there is instead

  /// What is missing and what does not fit, for one message; where no name is one of a BERT, only
  /// that.
  std::vector<std::string> all_faults() const;
};

BertWeights match_weights(const Checkpoint& checkpoint, const BertConfig& config);

/// The values of a weight in the model's shape: in the file where they can be used as they are,
/// else in `buffer`. Throws what Checkpoint::read throws.
std::span<const std::byte> read_weight(const Checkpoint& checkpoint, const Weight& weight,
                                       std::vector<std::byte>& buffer);

/// The same part by part in order, each of whole elements. Beside what Checkpoint::read_parts takes
/// (where the weight is transposed: read), no more than a few megabytes of memory are needed.
void read_weight_parts(const Checkpoint& checkpoint, const Weight& weight,
                       const Checkpoint::PartCall& part);

}  // namespace bertrand
