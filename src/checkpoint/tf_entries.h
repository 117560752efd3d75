#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/tensor.h"

namespace bertrand {

/// A part of a variable: where it begins and how long it is in each dimension; a length of -1 is
/// all of it.
struct TfSlice {
  std::vector<int64_t> starts;
  std::vector<int64_t> lengths;
};

/// What an index says of one tensor (or of one slice, which has a key of its own).
struct TfEntry {
  DataType type = DataType::unknown;
  std::vector<int64_t> shape;
  uint32_t shard = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
  uint32_t checksum = 0;  ///< masked CRC-32C of the bytes
  std::vector<TfSlice> slices;
};

/// All that PREFIX.index holds.
struct TfIndex {
  uint32_t shards = 1;
  bool big_endian = false;
  std::map<std::string, TfEntry, std::less<>> entries;
};

/// Throws Error (bad_input) naming the file. `check`: see read_sorted_table.
TfIndex read_tf_index(std::span<const std::byte> file, const std::string& where, bool check = true);

/// The key under which a slice's data is found. Source:
/// tensorflow/core/util/saved_tensor_slice_util (EncodeTensorNameSlice) and
/// tensorflow/core/lib/strings/ordered_code.
std::string slice_key(const std::string& name, const TfSlice& slice);

}  // namespace bertrand
