#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "checkpoint/zip_records.h"

namespace bertrand {

/// Writes a ZIP archive of stored entries in one pass: an entry's checksum follows its content.
class ZipWriter {
 public:
  explicit ZipWriter(const std::filesystem::path& path) : file_(path) {}

  /// Begins an entry of `size` bytes, its content aligned to 64 bytes.
  void begin(const std::string& name, uint64_t size);
  void write(std::span<const std::byte> bytes);
  void end();

  /// An entry in one call.
  void add(const std::string& name, std::string_view content);

  /// Writes the directory and brings the file to the disk; commit() does so where nobody has, and
  /// puts it in its place.
  void finish();
  void commit();

 private:
  void put(std::string_view text);

  AtomicFile file_;
  uint64_t at_ = 0;
  bool finished_ = false;
  std::vector<ZipRecord> entries_;
};

}  // namespace bertrand
