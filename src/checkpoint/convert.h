#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/tensor.h"
#include "model/config.h"

namespace bertrand {

enum class WeightFormat { safetensors, pytorch, onnx };

/// What is kept beside encoder and span head.
enum class Heads {
  all,     ///< the pooler, and the heads of pre-training and classification
  pooler,  ///< the pooler only
  none,
};

struct ConvertOptions {
  std::filesystem::path in;          ///< a checkpoint or a folder with one
  std::filesystem::path out;         ///< a folder, or a file where `single_file`
  std::filesystem::path config;      ///< empty: that beside the checkpoint
  std::filesystem::path vocabulary;  ///< empty: vocab.txt beside the checkpoint
  WeightFormat format = WeightFormat::safetensors;
  bool single_file = false;      ///< the weights alone
  bool overwrite = false;        ///< replace the model that is in `out`, or `in` itself
  std::optional<DataType> type;  ///< f32, f16 or bf16; empty: as they are stored
  Heads heads = Heads::all;
  std::optional<bool> lower_case;  ///< empty: as tokenizer_config.json or the vocabulary says

  /// Throws Error where a file is no vocabulary of a model of this config.
  std::function<void(const std::filesystem::path&, const BertConfig&)> check_vocabulary;
};

struct ConvertReport {
  std::string kind;  ///< of the checkpoint read
  size_t tensors = 0;
  uint64_t bytes = 0;              ///< of them, as written
  std::vector<std::string> notes;  ///< what was kept beside the model, left out, cut or assumed
};

/// Reads a checkpoint of any kind and writes it as a model folder or as one file of weights, tensor
/// by tensor: no more than the largest tensor is held at once. Values that keep their type keep
/// their bits. A new folder appears whole or not at all; in one that is there each file does, and
/// all are on the disk before the first takes the place of an old one. Of a model that is there
/// nothing is replaced, and nothing stays that does not fit (see OldModel), unless `overwrite` is
/// set. `progress` is called again and again; what it throws ends the conversion, and nothing is
/// left of it. Throws Error (bad_input) naming every tensor that does not fit the config, (usage)
/// where a model is in the way, and (runtime) a tensor with a finite value that is too large for
/// the type it is to have.
ConvertReport convert(const ConvertOptions& options,
                      const std::function<void(uint64_t done, uint64_t all)>& progress);

}  // namespace bertrand
