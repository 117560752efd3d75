#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bertrand {

enum class DataType { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };

/// Bytes of one element.
size_t size_of(DataType type);

/// "F32", "BF16", "BOOL": as safetensors spells it.
std::string_view name_of(DataType type);

/// A tensor in a file: little-endian, row-major. The bytes belong to the file's reader.
struct TensorView {
  std::string name;
  DataType type;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;

  int64_t size() const;  ///< elements
};

/// The tensors of one checkpoint file, whatever its format.
class TensorFile {
 public:
  virtual ~TensorFile() = default;
  virtual const std::vector<TensorView>& tensors() const = 0;

  /// nullptr where there is none of that name.
  const TensorView* find(std::string_view name) const;
};

/// Converts floating point values of any width to f32; out is [tensor.size()]. Throws Error
/// (bad_input) naming the tensor where it does not hold floating point numbers.
void to_f32(const TensorView& tensor, std::span<float> out);

/// Rounds to nearest even, as PyTorch does. `bytes` is [values.size() * size_of(type)]; f32, f16 or
/// bf16.
void from_f32(std::span<const float> values, DataType type, std::span<std::byte> bytes);

}  // namespace bertrand
