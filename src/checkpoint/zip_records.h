#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bertrand {

/// A stored entry of a ZIP archive that is written.
struct ZipRecord {
  std::string name;
  uint64_t size = 0;    ///< bytes of the content
  uint64_t offset = 0;  ///< of the local header in the file
  uint32_t crc = 0;
};

/// The records of an archive as bytes, ZIP64 where a size, a place or the number of entries needs
/// it. Source: PKWARE's APPNOTE.TXT 6.3.10, 4.3 and 4.5.3.

/// What stands before the content, which then is aligned to 64 bytes.
std::string zip_local_header(const ZipRecord& entry);

/// What stands behind the content.
std::string zip_descriptor(const ZipRecord& entry);

/// What stands behind all entries, from byte `begin` on: the end of the file.
std::string zip_directory(const std::vector<ZipRecord>& entries, uint64_t begin);

}  // namespace bertrand
