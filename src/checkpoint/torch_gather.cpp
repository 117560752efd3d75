#include "checkpoint/torch_gather.h"

#include <algorithm>
#include <vector>

namespace bertrand {
namespace {

struct Run {
  const TensorInfo& info;
  const std::vector<int64_t>& strides;
  const std::byte* from;
  bool swap;
  std::span<std::byte> out;
  int64_t first;  // element
};

/// An element is of words of `kWord` bytes; complex numbers are of two.
template <size_t kWidth, size_t kWord>
void copy_element(const std::byte* from, std::byte* to, bool swap) {
  for (size_t i = 0; i < kWidth; ++i) {
    to[i] = from[swap ? i / kWord * kWord + (kWord - 1 - i % kWord) : i];
  }
}

/// Where in all dimensions but the last the element `first` is.
std::vector<int64_t> index_of(const std::vector<int64_t>& shape, int64_t first) {
  std::vector<int64_t> index(shape.empty() ? 0 : shape.size() - 1);
  int64_t rest = shape.empty() ? 0 : first / shape.back();
  for (size_t i = index.size(); i-- > 0;) {
    index[i] = rest % shape[i];
    rest /= shape[i];
  }
  return index;
}

/// Walks the index of the tensor like an odometer; the last dimension is the inner loop.
template <size_t kWidth, size_t kWord = kWidth>
void gather_elements(const Run& run) {
  const auto& shape = run.info.shape;
  const int64_t columns = shape.empty() ? 1 : shape.back();
  const auto step = static_cast<uint64_t>(shape.empty() ? 1 : run.strides.back());
  std::vector<int64_t> index = index_of(shape, run.first);
  std::byte* out = run.out.data();
  auto left = static_cast<int64_t>(run.out.size() / kWidth);
  for (int64_t begin = run.first % columns; left > 0; begin = 0) {
    uint64_t place = static_cast<uint64_t>(begin) * step;
    for (size_t i = 0; i < index.size(); ++i) {
      place += static_cast<uint64_t>(index[i]) * static_cast<uint64_t>(run.strides[i]);
    }
    const int64_t count = std::min(columns - begin, left);
    for (int64_t i = 0; i < count; ++i, out += kWidth, place += step) {
      copy_element<kWidth, kWord>(run.from + place * kWidth, out, run.swap);
    }
    left -= count;
    for (size_t i = index.size(); i-- > 0;) {
      if (++index[i] < shape[i]) break;
      index[i] = 0;
    }
  }
}

}  // namespace

bool is_contiguous(const TensorInfo& info, const TorchTensor& tensor) {
  int64_t expected = 1;
  for (size_t i = info.shape.size(); i-- > 0;) {
    if (info.shape[i] != 1 && tensor.strides[i] != expected) {
      return info.size() == 0;
    }
    expected *= info.shape[i];
  }
  return true;
}

void gather(const TensorInfo& info, const TorchTensor& tensor, std::span<const std::byte> bytes,
            bool big_endian, std::span<std::byte> out, int64_t first) {
  if (out.empty()) {
    return;
  }
  const Run run{info, tensor.strides, bytes.data(), big_endian, out, first};
  if (info.type == DataType::c64) return gather_elements<8, 4>(run);
  if (info.type == DataType::c32) return gather_elements<4, 2>(run);
  switch (size_of(info.type)) {
    case 16:
      return gather_elements<16, 8>(run);
    case 1:
      return gather_elements<1>(run);
    case 2:
      return gather_elements<2>(run);
    case 4:
      return gather_elements<4>(run);
    default:
      return gather_elements<8>(run);
  }
}

void gather_parts(const TensorInfo& info, const TorchTensor& tensor,
                  std::span<const std::byte> bytes, bool big_endian,
                  const Checkpoint::PartCall& part) {
  constexpr size_t kPartBytes = 1 << 20;
  const size_t all = info.bytes();
  std::vector<std::byte> block(std::min(kPartBytes, all));
  size_t begin = 0;
  do {
    const auto out = std::span(block).first(std::min(block.size(), all - begin));
    gather(info, tensor, bytes, big_endian, out, static_cast<int64_t>(begin / size_of(info.type)));
    part(out);
    begin += out.size();
  } while (begin < all);
}

}  // namespace bertrand
