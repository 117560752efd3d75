#pragma once

#include <filesystem>
#include <memory>
#include <span>

#include "checkpoint/checkpoint.h"

namespace bertrand {

/// A checkpoint in several files, as transformers writes large ones: the index (for instance
/// model.safetensors.index.json) has a "weight_map" from each tensor's name to the file beside it
/// that holds it. Throws Error (bad_input) naming the file that is missing or lacks a tensor.
std::shared_ptr<const Checkpoint> open_sharded(const std::filesystem::path& index);

/// Whether a file is JSON with a "weight_map".
bool is_shard_index(std::span<const std::byte> file);

}  // namespace bertrand
