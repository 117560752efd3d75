#include "engine/torch/batch.h"

#include <ATen/ATen.h>
#include <algorithm>
#include <map>
#include <utility>

namespace bertrand::plugin {
namespace {

/// Lengths between two multiples of it are one bucket.
constexpr int64_t kBucketStep = 64;

/// Lists of integers, brought to the device together.
class Transfer {
 public:
  using Place = std::pair<int64_t, int64_t>;  // first, count

  Place add(const std::vector<int64_t>& list) {
    const auto first = static_cast<int64_t>(values_.size());
    values_.insert(values_.end(), list.begin(), list.end());
    return {first, static_cast<int64_t>(list.size())};
  }
  void go(const c10::Device& device) {
    arrived_ = at::from_blob(values_.data(), {static_cast<int64_t>(values_.size())}, at::kLong)
                   .to(device, at::kLong, /*non_blocking=*/false, /*copy=*/true);
  }
  at::Tensor take(const Place& place) const {
    return arrived_.narrow(0, place.first, place.second);
  }

 private:
  std::vector<int64_t> values_;
  at::Tensor arrived_;
};

/// A bucket before it is on the device.
struct Padding {
  std::vector<int64_t> windows;
  int64_t length = 0;
  Transfer::Place rows, lengths;
  bool pads = false;
};

/// Rows of padding are the window's first: they are masked, any will do.
void add_padding(Padding& padding, const std::vector<int64_t>& offsets, Transfer& transfer) {
  std::vector<int64_t> rows;
  std::vector<int64_t> lengths;
  for (const int64_t window : padding.windows) {
    const auto at = static_cast<size_t>(window);
    const int64_t length = offsets[at + 1] - offsets[at];
    for (int64_t i = 0; i < padding.length; ++i) {
      rows.push_back(offsets[at] + (i < length ? i : 0));
    }
    lengths.push_back(length);
    padding.pads = padding.pads || length < padding.length;
  }
  padding.rows = transfer.add(rows);
  padding.lengths = transfer.add(lengths);
}

Bucket finish(const Padding& padding, const Transfer& transfer) {
  Bucket bucket;
  bucket.windows = static_cast<int64_t>(padding.windows.size());
  bucket.length = padding.length;
  bucket.rows = transfer.take(padding.rows);
  if (padding.pads) {
    bucket.valid = valid_places(transfer.take(padding.lengths), bucket.length);
  }
  return bucket;
}

std::vector<Padding> sort_into_buckets(const std::vector<int64_t>& offsets) {
  std::map<int64_t, Padding> by_length;
  for (size_t window = 0; window + 1 < offsets.size(); ++window) {
    const int64_t length = offsets[window + 1] - offsets[window];
    Padding& padding = by_length[(length + kBucketStep - 1) / kBucketStep];
    padding.windows.push_back(static_cast<int64_t>(window));
    padding.length = std::max(padding.length, length);
  }
  std::vector<Padding> buckets;
  buckets.reserve(by_length.size());
  for (auto& [step, padding] : by_length) {
    buckets.push_back(std::move(padding));
  }
  return buckets;
}

/// Where each packed row is in all buckets one after the other.
std::vector<int64_t> rows_in(const std::vector<Padding>& buckets,
                             const std::vector<int64_t>& offsets) {
  std::vector<int64_t> rows(static_cast<size_t>(offsets.back()));
  int64_t begin = 0;
  for (const Padding& padding : buckets) {
    for (const int64_t window : padding.windows) {
      const auto at = static_cast<size_t>(window);
      for (int64_t row = offsets[at]; row < offsets[at + 1]; ++row) {
        rows[static_cast<size_t>(row)] = begin + row - offsets[at];
      }
      begin += padding.length;
    }
  }
  return rows;
}

}  // namespace

at::Tensor valid_places(const at::Tensor& lengths, int64_t longest) {
  return at::arange(longest, lengths.options()).view({1, 1, 1, -1}).lt(lengths.view({-1, 1, 1, 1}));
}

DeviceBatch to_device(const BertrandTorchBatch& batch, const c10::Device& device) {
  DeviceBatch result;
  result.offsets.assign(batch.offsets, batch.offsets + batch.windows + 1);
  result.keys.assign(batch.keys, batch.keys + batch.windows);
  Padding all;
  std::vector<int64_t> positions;
  for (size_t window = 0; window < batch.windows; ++window) {
    const int64_t length = result.offsets[window + 1] - result.offsets[window];
    result.longest = std::max(result.longest, length);
    for (int64_t i = 0; i < length; ++i) {
      positions.push_back(i);
    }
    all.windows.push_back(static_cast<int64_t>(window));
  }
  all.length = result.longest;
  Transfer transfer;
  const auto add = [&](const int32_t* values, size_t count) {
    return transfer.add(values == nullptr ? std::vector<int64_t>()
                                          : std::vector<int64_t>(values, values + count));
  };
  const auto ids = add(batch.ids, batch.tokens);
  const auto segments = add(batch.segments, batch.tokens);
  const auto place = transfer.add(positions);
  const auto start = add(batch.start, batch.windows);
  const auto end = add(batch.end, batch.windows);
  const auto begins = transfer.add(result.offsets);
  std::vector<Padding> buckets = sort_into_buckets(result.offsets);
  const auto bucket_rows = transfer.add(rows_in(buckets, result.offsets));
  add_padding(all, result.offsets, transfer);
  for (Padding& padding : buckets) {
    add_padding(padding, result.offsets, transfer);
  }
  transfer.go(device);
  result.ids = transfer.take(ids);
  result.segments = transfer.take(segments);
  result.positions = transfer.take(place);
  if (batch.start != nullptr && batch.end != nullptr) {
    result.start = transfer.take(start).view({-1, 1});
    result.end = transfer.take(end).view({-1, 1});
  }
  result.begins = transfer.take(begins).to(at::kInt);
  result.bucket_rows = transfer.take(bucket_rows);
  result.all = finish(all, transfer);
  for (const Padding& padding : buckets) {
    result.buckets.push_back(finish(padding, transfer));
  }
  return result;
}

}  // namespace bertrand::plugin
