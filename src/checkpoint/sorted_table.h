#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace bertrand {

/// Whether a file ends as a sorted table does.
bool is_sorted_table(std::span<const std::byte> file);

/// Calls `entry` with every key and value of a sorted table, the format that LevelDB and
/// TensorFlow's bundle index share: blocks of entries, each key less its beginning in common with
/// the key before; blocks may be packed by Snappy and have a checksum. Source: LevelDB,
/// doc/table_format.md. Key and value hold during the call only. Without `check` the checksums
/// are not compared: for fuzzing, which would not get past them. Throws Error (bad_input) naming
/// `where` and the place; takes no more memory than a block of kMostBlock bytes.
void read_sorted_table(
    std::span<const std::byte> file, const std::string& where,
    const std::function<void(std::string_view key, std::span<const std::byte> value)>& entry,
    bool check = true);

}  // namespace bertrand
