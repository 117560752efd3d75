#include "checkpoint/write_as.h"

#include <cmath>
#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"

namespace bertrand {
namespace {

/// F64 has finite values that F32 has not.
void refuse_too_large(const TensorInfo& info, std::span<const std::byte> bytes,
                      std::span<const float> values, const TensorInfo& target,
                      const std::string& where) {
  if (info.type != DataType::f64) return;
  for (size_t i = 0; i < values.size(); ++i) {
    double value = 0;
    std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
    if (std::isinf(values[i]) && !std::isinf(value)) {
      throw Error(ErrorCode::runtime,
                  fmt::format("{}: a value of \"{}\", {}, is too large for {}; leave it in F64, or "
                              "mend it.",
                              where, printable(info.name), value, name_of(target.type)));
    }
  }
}

}  // namespace

void write_as(const TensorInfo& target, WeightWriter& writer, const TensorInfo& info,
              std::span<const std::byte> bytes, const std::string& where) {
  if (target.type == info.type || bytes.empty()) return writer.write(bytes);
  std::vector<float> values(bytes.size() / size_of(info.type));
  to_f32({info.name, info.type, {static_cast<int64_t>(values.size())}, bytes}, values);
  refuse_too_large(info, bytes, values, target, where);
  std::vector<std::byte> narrow(values.size() * size_of(target.type));
  narrow_f32(values, target, narrow, where);
  writer.write(narrow);
}

}  // namespace bertrand
