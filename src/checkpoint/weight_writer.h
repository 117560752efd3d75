#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/tensor.h"
#include "model/config.h"

namespace bertrand {

/// Writes the tensors of a model into one file, in the order in which they were announced. The file
/// appears when commit() is called, or not at all.
class WeightWriter {
 public:
  virtual ~WeightWriter() = default;

  /// The next bytes of the tensor that is being written, which ends with its last byte; then the
  /// next begins. One without elements takes one call without bytes. Throws Error (io) naming the
  /// file.
  virtual void write(std::span<const std::byte> bytes) = 0;

  /// Ends the file and brings all of it to the disk. It has its name only after commit(), which
  /// calls this where nobody has.
  virtual void finish() = 0;
  virtual void commit() = 0;
};

std::unique_ptr<WeightWriter> make_safetensors_writer(const std::filesystem::path& path,
                                                      std::vector<TensorInfo> tensors);

/// pytorch_model.bin as torch.save writes it: a ZIP archive (stored entries, each storage aligned
/// to 64 bytes) with the state dictionary's pickle; torch.load(weights_only=True) reads it. With a
/// `key` the file holds a dictionary, and the state dictionary under that key.
std::unique_ptr<WeightWriter> make_torch_writer(const std::filesystem::path& path,
                                                std::vector<TensorInfo> tensors,
                                                const std::string& key = "");

/// A BERT with a span head as an ONNX model: opset 17; inputs input_ids, attention_mask and
/// token_type_ids, i64 [batch, sequence]; outputs start_logits and end_logits, f32 [batch,
/// sequence]; everything is computed in f32. `tensors` are those of bert_parameters(config) in any
/// order and of type f32, f16 or bf16; linear weights are [in, out] (see is_linear_weight). Throws
/// Error (usage) where they have more than the 2 GB an ONNX file may have. Source: onnx/onnx,
/// onnx.proto and Operators.md.
std::unique_ptr<WeightWriter> make_onnx_writer(const std::filesystem::path& path,
                                               const BertConfig& config,
                                               std::vector<TensorInfo> tensors);

/// Whether a parameter is the weight of a linear layer, [out, in] in the model.
bool is_linear_weight(const TensorInfo& tensor);

}  // namespace bertrand
