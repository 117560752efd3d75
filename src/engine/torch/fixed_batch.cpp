#include "engine/torch/fixed_batch.h"

#include <ATen/ATen.h>
#include <algorithm>
#include <bit>
#include <utility>

namespace bertrand::plugin {
namespace {

constexpr int64_t kStep = 64;        // tokens
constexpr int64_t kMostPadding = 4;  // rows of padded windows by tokens

int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

int64_t token_step(int64_t tokens) {
  constexpr int64_t kMany = 1024;
  constexpr int64_t kVeryMany = 4096;
  return tokens < kMany ? kStep : tokens < kVeryMany ? 4 * kStep : 8 * kStep;
}

/// Windows that hold what tokens are rounded up by: less than 8 steps, each a step long at least.
constexpr int64_t kFillers = 8;

/// How many numbers each list of a batch has, in the order in which they lie.
struct Sizes {
  explicit Sizes(const FixedShape& shape)
      : rows(shape.tokens),
        begins(shape.windows + kFillers + 1),
        padded(shape.windows * shape.longest),
        windows(shape.windows) {}

  int64_t rows;     // ids, segments, positions, places in padded windows
  int64_t begins;   // offsets of windows
  int64_t padded;   // rows of padded windows
  int64_t windows;  // lengths, starts, ends
};

/// The lists one after the other.
class Writer {
 public:
  explicit Writer(std::span<int64_t> values) : values_(values) {}

  /// Filled with `value` to begin with.
  std::span<int64_t> next(int64_t count, int64_t value = 0) {
    const std::span<int64_t> list = values_.first(static_cast<size_t>(count));
    values_ = values_.subspan(list.size());
    std::fill(list.begin(), list.end(), value);
    return list;
  }

  /// Of what may not be there.
  void next(int64_t count, const int32_t* from, size_t given) {
    const std::span<int64_t> list = next(count);
    if (from != nullptr) {
      std::copy_n(from, given, list.begin());
    }
  }

 private:
  std::span<int64_t> values_;
};

/// The same of a tensor.
class Parts {
 public:
  explicit Parts(at::Tensor values) : values_(std::move(values)) {}

  at::Tensor next(int64_t count) {
    begin_ += count;
    return values_.narrow(0, begin_ - count, count);
  }

 private:
  at::Tensor values_;
  int64_t begin_ = 0;
};

}  // namespace

FixedShape FixedShape::of(const BertrandTorchBatch& batch) {
  int32_t longest = 0;
  for (size_t window = 0; window < batch.windows; ++window) {
    longest = std::max(longest, batch.offsets[window + 1] - batch.offsets[window]);
  }
  const auto tokens = static_cast<int64_t>(batch.tokens);
  return {round_up(tokens, token_step(tokens)), static_cast<int64_t>(std::bit_ceil(batch.windows)),
          round_up(longest, kStep)};
}

bool FixedShape::is_dense() const { return windows * longest <= kMostPadding * tokens; }

int64_t FixedShape::values() const {
  const Sizes sizes(*this);
  return 4 * sizes.rows + sizes.begins + sizes.padded + 3 * sizes.windows;
}

void fill(const BertrandTorchBatch& batch, const FixedShape& shape, std::span<int64_t> values) {
  const Sizes sizes(shape);
  Writer writer(values);
  writer.next(sizes.rows, batch.ids, batch.tokens);
  writer.next(sizes.rows, batch.segments, batch.tokens);
  const std::span<int64_t> positions = writer.next(sizes.rows);
  const std::span<int64_t> places = writer.next(sizes.rows);
  const std::span<int64_t> begins = writer.next(sizes.begins, shape.tokens);
  const std::span<int64_t> rows = writer.next(sizes.padded);
  // An empty window pretends to one row, of which the softmax is 1.
  const std::span<int64_t> lengths = writer.next(sizes.windows, 1);
  writer.next(sizes.windows, batch.start, batch.windows);
  writer.next(sizes.windows, batch.end, batch.windows);
  for (size_t window = 0; window < batch.windows; ++window) {
    const auto first = static_cast<size_t>(batch.offsets[window]);
    const size_t length = static_cast<size_t>(batch.offsets[window + 1]) - first;
    const size_t padded = window * static_cast<size_t>(shape.longest);
    for (size_t i = 0; i < length; ++i) {
      positions[first + i] = static_cast<int64_t>(i);
      places[first + i] = static_cast<int64_t>(padded + i);
      rows[padded + i] = static_cast<int64_t>(first + i);
    }
    begins[window] = static_cast<int64_t>(first);
    lengths[window] = static_cast<int64_t>(length);
  }
  // What is left are windows as long as may be, and empty ones.
  auto begin = static_cast<int64_t>(batch.tokens);
  for (size_t next = batch.windows; begin < shape.tokens; ++next, begin += shape.longest) {
    begins[next] = begin;
  }
}

DeviceBatch arrange(const at::Tensor& values, const FixedShape& shape) {
  const Sizes sizes(shape);
  Parts parts(values);
  DeviceBatch batch;
  batch.ids = parts.next(sizes.rows);
  batch.segments = parts.next(sizes.rows);
  batch.positions = parts.next(sizes.rows);
  batch.bucket_rows = parts.next(sizes.rows);
  batch.begins = parts.next(sizes.begins).to(at::kInt);
  batch.longest = shape.longest;
  batch.all.windows = shape.windows;
  batch.all.length = shape.longest;
  batch.all.rows = parts.next(sizes.padded);
  batch.all.valid = valid_places(parts.next(sizes.windows), shape.longest);
  batch.buckets = {batch.all};
  batch.start = parts.next(sizes.windows).view({-1, 1});
  batch.end = parts.next(sizes.windows).view({-1, 1});
  return batch;
}

}  // namespace bertrand::plugin
