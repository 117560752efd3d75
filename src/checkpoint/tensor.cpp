#include "checkpoint/tensor.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <new>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace bertrand {
namespace {

static_assert(std::endian::native == std::endian::little, "Tensors in files are little-endian.");

struct TypeTraits {
  std::string_view name;
  unsigned bits;
};

/// In the order of DataType.
constexpr std::array kTypes = {
    TypeTraits{"F64", 64},        TypeTraits{"F32", 32},        TypeTraits{"F16", 16},
    TypeTraits{"BF16", 16},       TypeTraits{"I64", 64},        TypeTraits{"I32", 32},
    TypeTraits{"I16", 16},        TypeTraits{"I8", 8},          TypeTraits{"U8", 8},
    TypeTraits{"BOOL", 8},        TypeTraits{"U16", 16},        TypeTraits{"U32", 32},
    TypeTraits{"U64", 64},        TypeTraits{"F8_E4M3", 8},     TypeTraits{"F8_E5M2", 8},
    TypeTraits{"F8_E4M3FNUZ", 8}, TypeTraits{"F8_E5M2FNUZ", 8}, TypeTraits{"F8_E8M0", 8},
    TypeTraits{"F6_E2M3", 6},     TypeTraits{"F6_E3M2", 6},     TypeTraits{"F4", 4},
    TypeTraits{"F4_X2", 8},       TypeTraits{"C32", 32},        TypeTraits{"C64", 64},
    TypeTraits{"C128", 128},      TypeTraits{"TEXT", 0},        TypeTraits{"UNKNOWN", 0}};
static_assert(kTypes.size() == kDataTypes);

/// The value `bytes` holds at `index`; tensors in files need not be aligned.
template <typename Number>
Number load(const std::byte* bytes, size_t index) {
  Number number;
  std::memcpy(&number, bytes + index * sizeof number, sizeof number);
  return number;
}

template <typename Number>
void store(std::byte* bytes, size_t index, Number number) {
  std::memcpy(bytes + index * sizeof number, &number, sizeof number);
}

/// a ? b : c without a branch.
uint32_t select(bool a, uint32_t b, uint32_t c) {
  const uint32_t mask = 0U - static_cast<uint32_t>(a);
  return (b & mask) | (c & ~mask);
}

/// The conversions below have no branches, so that compilers make vector code of their loops, and
/// give the same result in a thread that flushes subnormal f32 to zero.

/// f16 is 1 sign, 5 exponent (bias 15) and 10 mantissa bits; f32 has 1, 8 (bias 127) and 23.
float f16_to_f32(uint16_t half) {
  const uint32_t magnitude = half & 0x7fffU;
  const uint32_t normal = (magnitude << 13) + (112U << 23);
  const uint32_t special = normal + (112U << 23);  // infinity and NaN have the largest exponent
  const auto subnormal =
      std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24F);
  uint32_t bits = select(magnitude < 0x0400U, subnormal, normal);
  bits = select(magnitude >= 0x7c00U, special, bits);
  return std::bit_cast<float>(bits | (half & 0x8000U) << 16);
}

uint16_t f32_to_f16(float value) {
  const auto all = std::bit_cast<uint32_t>(value);
  const uint32_t bits = all & 0x7fffffffU;
  // Half of the last place, or just less where the place above is even; the carry may go up into
  // the exponent, and from the largest finite number to infinity.
  const uint32_t normal = (bits + 0xfffU + (bits >> 13 & 1U) - (112U << 23)) >> 13;
  // In 0.5 + x the last place is that of subnormal f16, so the addition rounds.
  const uint32_t subnormal =
      std::bit_cast<uint32_t>(std::bit_cast<float>(bits) + 0.5F) - std::bit_cast<uint32_t>(0.5F);
  uint32_t half = select(bits < (113U << 23), subnormal, normal);
  half = select(bits >= 0x477ff000U, 0x7c00U, half);  // 65520 and more
  half = select(bits > 0x7f800000U, 0x7e00U, half);   // NaN
  return static_cast<uint16_t>(half | (all >> 16 & 0x8000U));
}

uint16_t f32_to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fffU + (bits >> 16 & 1U)) >> 16;
  return static_cast<uint16_t>(select((bits & 0x7fffffffU) > 0x7f800000U, 0x7fc0U, rounded));
}

float bf16_to_f32(uint16_t value) { return std::bit_cast<float>(uint32_t{value} << 16); }

template <typename Number, typename Convert>
void convert_from(const std::byte* bytes, std::span<float> out, Convert convert) {
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = convert(load<Number>(bytes, i));
  }
}

}  // namespace

size_t size_of(DataType type) { return (bits_of(type) + 7) / 8; }

unsigned bits_of(DataType type) { return kTypes[static_cast<size_t>(type)].bits; }

std::string_view name_of(DataType type) { return kTypes[static_cast<size_t>(type)].name; }

int64_t TensorView::size() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

int64_t TensorInfo::size() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

size_t TensorInfo::bytes() const {
  const unsigned bits = bits_of(type);
  const auto elements = static_cast<size_t>(size());
  if (bits == 0) return static_cast<size_t>(stored);
  return bits % 8 == 0 ? elements * (bits / 8) : (elements * bits + 7) / 8;
}

std::optional<int64_t> checked_size(std::span<const int64_t> shape) {
  constexpr int64_t kWidest = 16;
  int64_t size = kWidest;
  for (const int64_t dimension : shape) {
    if (dimension < 0 || __builtin_mul_overflow(size, dimension, &size)) {
      return std::nullopt;
    }
  }
  return size / kWidest;
}

std::string printable(std::string_view text) {
  constexpr size_t kShown = 200;
  const std::string shown = nlohmann::json(text.substr(0, kShown))
                                .dump(/*indent=*/-1, ' ', /*ensure_ascii=*/true,
                                      nlohmann::json::error_handler_t::replace);
  return shown.substr(1, shown.size() - 2) + (text.size() > kShown ? "..." : "");
}

void make_room(std::vector<std::byte>& buffer, size_t bytes, const std::string& what) {
  if (buffer.capacity() < bytes) {
    buffer = std::vector<std::byte>();
  }
  try {
    buffer.resize(bytes);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::runtime,
                fmt::format("{}: to read it takes {} bytes of memory, which the system does not "
                            "give; raise the limit (ulimit -v) or close other programs.",
                            what, bytes));
  }
}

std::string shape_text(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ","));
}

bool is_floating_point(DataType type) {
  return type == DataType::f32 || type == DataType::f16 || type == DataType::bf16 ||
         type == DataType::f64;
}

const TensorView* TensorFile::find(std::string_view name) const {
  const auto& all = tensors();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const TensorView& tensor) { return tensor.name == name; });
  return found == all.end() ? nullptr : &*found;
}

void to_f32(const TensorView& tensor, std::span<float> out) {
  if (!out.empty() && !is_floating_point(tensor.type)) {
    throw Error(ErrorCode::bad_input,
                "Tensor \"" + tensor.name + "\" holds " + std::string(name_of(tensor.type)) +
                    ", not floating point numbers; weights must be F32, F16 or BF16.");
  }
  if (tensor.bytes.size() != out.size() * size_of(tensor.type)) {
    throw Error(ErrorCode::runtime, "Tensor \"" + tensor.name + "\" holds " +
                                        std::to_string(tensor.size()) + " values where " +
                                        std::to_string(out.size()) + " are asked for.");
  }
  widen(tensor.type, tensor.bytes, out);
}

void widen(DataType type, std::span<const std::byte> bytes, std::span<float> out) {
  if (bytes.size() != out.size() * size_of(type)) {
    throw Error(ErrorCode::runtime, "Bytes and values to convert differ in number.");
  }
  if (out.empty()) {
    return;
  }
  switch (type) {
    case DataType::f32:
      std::memcpy(out.data(), bytes.data(), out.size_bytes());
      return;
    case DataType::f16:
      return convert_from<uint16_t>(bytes.data(), out, f16_to_f32);
    case DataType::bf16:
      return convert_from<uint16_t>(bytes.data(), out, bf16_to_f32);
    case DataType::f64:
      return convert_from<double>(bytes.data(), out,
                                  [](double value) { return static_cast<float>(value); });
    default:
      throw Error(ErrorCode::runtime, "Only floating point numbers are converted to F32.");
  }
}

void from_f32(std::span<const float> values, DataType type, std::span<std::byte> bytes) {
  if (bytes.size() != values.size() * size_of(type)) {
    throw Error(ErrorCode::runtime, "Values and bytes to convert differ in number.");
  }
  if (values.empty()) {
    return;
  }
  switch (type) {
    case DataType::f32:
      std::memcpy(bytes.data(), values.data(), values.size_bytes());
      return;
    case DataType::f16:
      for (size_t i = 0; i < values.size(); ++i) {
        store(bytes.data(), i, f32_to_f16(values[i]));
      }
      return;
    case DataType::bf16:
      for (size_t i = 0; i < values.size(); ++i) {
        store(bytes.data(), i, f32_to_bf16(values[i]));
      }
      return;
    default:
      throw Error(ErrorCode::runtime, "Weights are stored as F32, F16 or BF16 only.");
  }
}

void narrow_f32(std::span<const float> values, const TensorInfo& tensor, std::span<std::byte> bytes,
                const std::string& where) {
  from_f32(values, tensor.type, bytes);
  if (tensor.type != DataType::f16 && tensor.type != DataType::bf16) return;
  const bool is_half = tensor.type == DataType::f16;
  const float too_large = is_half ? 65504 + 16 : 0x1.FFp127F;  // rounds to infinity
  const auto fits = [=](float value) {
    return !(std::abs(value) >= too_large) || std::isinf(value);
  };
  if (!std::all_of(values.begin(), values.end(), fits)) {
    throw Error(
        ErrorCode::runtime,
        fmt::format("{}: a value of \"{}\" is too large for {}; write {} instead.", where,
                    printable(tensor.name), name_of(tensor.type), is_half ? "BF16 or F32" : "F32"));
  }
}

}  // namespace bertrand
