#pragma once

#include <filesystem>
#include <memory>

#include "checkpoint/checkpoint.h"

namespace bertrand {

/// A checkpoint of TensorFlow's Saver (version 2 of its format, since TensorFlow 1.0): PREFIX.index
/// and PREFIX.data-00000-of-00001 or more. Variables that were saved in slices are put together;
/// the optimizer's are told as others. Source: tensorflow/core/util/tensor_bundle and
/// tensorflow/core/protobuf/tensor_bundle.proto. `prefix` is without ".index". A missing or short
/// data file is a problem of the checkpoint, and an error once a tensor in it is read. Without
/// `check` no checksum is looked at, so that a fuzzer gets behind them.
std::shared_ptr<const Checkpoint> open_tf_bundle(const std::filesystem::path& prefix,
                                                 bool check = true);

/// The prefix of a bundle's file: less ".index", ".meta" or ".data-00000-of-00001"; else `path`.
std::filesystem::path bundle_prefix(const std::filesystem::path& path);

}  // namespace bertrand
