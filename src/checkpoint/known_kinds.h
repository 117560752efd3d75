#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace bertrand {

/// Throws Error (bad_input) where a file is of a kind that people take for a checkpoint, or that is
/// one and not read: what it is, and what to do. `bytes` are all of the file, of which nothing is
/// trusted.
void refuse_known_kinds(std::span<const std::byte> bytes, const std::filesystem::path& path);

}  // namespace bertrand
