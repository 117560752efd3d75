#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bertrand {

/// Those behind `boolean` no model of ours has; they are known so that files are read that hold
/// them beside it.
enum class DataType {
  f64,
  f32,
  f16,
  bf16,
  i64,
  i32,
  i16,
  i8,
  u8,
  boolean,
  u16,
  u32,
  u64,
  f8_e4m3,
  f8_e5m2,
  f8_e4m3fnuz,
  f8_e5m2fnuz,
  f8_e8m0,
  f6_e2m3,
  f6_e3m2,
  f4,
  f4_x2,  ///< two f4 in an element, as PyTorch has them
  c32,    ///< two f16
  c64,    ///< two f32
  c128,   ///< two f64
  text,   ///< of no fixed width
  unknown,
};
inline constexpr size_t kDataTypes = 27;

/// Bytes of one element; 1 of types that are narrower, and 0 of those without a fixed width.
size_t size_of(DataType type);

/// Bits of one element, 0 without a fixed width: elements lie side by side without gaps.
unsigned bits_of(DataType type);

/// "F32", "BF16", "BOOL": as safetensors spells it, where it has the type.
std::string_view name_of(DataType type);

/// A tensor in a file: little-endian, row-major. The bytes belong to the file's reader.
struct TensorView {
  std::string name;
  DataType type;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;

  int64_t size() const;  ///< elements
};

/// What a file says of one tensor, without its values.
struct TensorInfo {
  std::string name;
  DataType type;
  std::vector<int64_t> shape;
  uint64_t stored = 0;  ///< bytes in the file, of a type without a fixed width

  int64_t size() const;  ///< elements
  size_t bytes() const;  ///< of all its values, without gaps
};

/// Elements of a shape that is not trusted, empty where a dimension is negative or they (at sixteen
/// bytes each) are more than can be counted.
std::optional<int64_t> checked_size(std::span<const int64_t> shape);

/// A name or other text from a file, fit for a message: printable ASCII of bounded length.
std::string printable(std::string_view text);

/// Makes `buffer` this long. What it held is lost, and not kept beside what takes its place, as
/// resize() would. Throws Error (runtime) where there is no such memory, for `what`: the file and
/// the tensor.
void make_room(std::vector<std::byte>& buffer, size_t bytes, const std::string& what);

/// "[768,2]", for messages.
std::string shape_text(std::span<const int64_t> shape);

/// The tensors of one file that can be mapped as they are.
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

/// The same for any run of values: `bytes` are those of out.size() values of a floating point type.
void widen(DataType type, std::span<const std::byte> bytes, std::span<float> out);

bool is_floating_point(DataType type);

/// Rounds to nearest even, as PyTorch does. `bytes` is [values.size() * size_of(type)]; f32, f16 or
/// bf16.
void from_f32(std::span<const float> values, DataType type, std::span<std::byte> bytes);

/// from_f32 to the tensor's type. Throws Error (runtime) naming `where` and the tensor where a
/// finite value is too large for it.
void narrow_f32(std::span<const float> values, const TensorInfo& tensor, std::span<std::byte> bytes,
                const std::string& where);

}  // namespace bertrand
