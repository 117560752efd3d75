#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bertrand {

/// The entries of a ZIP archive in memory. Not by a library, for none hands out where in a mapped
/// file a stored entry lies: here its bytes are used in place, and the rest is zlib's. Source:
/// PKWARE's APPNOTE.TXT 6.3.10 (central directory, ZIP64). Only entries that are stored or deflated
/// are read; nothing of the file is trusted: entries that lie over each other are refused, so that
/// all of them together unpack to no more than deflate can make of the file.
class ZipArchive {
 public:
  struct Entry {
    std::string_view name;  ///< in the file
    uint32_t crc = 0;
    uint64_t size = 0;  ///< of the content, in bytes
    bool deflated = false;
    std::span<const std::byte> bytes;  ///< as stored in the archive
  };

  /// `where` names the file in errors; `file` must outlive the archive.
  static ZipArchive parse(std::span<const std::byte> file, const std::string& where);

  const std::vector<Entry>& entries() const { return entries_; }

  /// False where the field of every entry is 0, as PyTorch leaves it where it is told to compute
  /// none (torch.serialization.set_crc32_options): then nothing is compared.
  bool has_checksums() const { return has_checksums_; }

  /// nullptr where there is none of that name.
  const Entry* find(std::string_view name) const;

  /// The content from byte `begin` on, `count` bytes: in place, or in `buffer` where it is
  /// deflated. All of the entry is checked against its CRC-32 if `check` is set and there are any.
  /// Takes no more memory than `count` bytes. Throws Error (bad_input) naming the entry.
  std::span<const std::byte> read(const Entry& entry, uint64_t begin, uint64_t count, bool check,
                                  std::vector<std::byte>& buffer) const;

  /// The same, part by part in order; all but the last have kPartBytes. One part in place where the
  /// entry is stored; else no more memory is taken than for one part.
  using PartCall = std::function<void(std::span<const std::byte> part)>;
  void read_parts(const Entry& entry, uint64_t begin, uint64_t count, bool check,
                  const PartCall& part) const;
  static constexpr size_t kPartBytes = 1 << 20;

 private:
  void check_range(const Entry& entry, uint64_t begin, uint64_t count) const;
  std::span<const std::byte> stored(const Entry& entry, uint64_t begin, uint64_t count,
                                    bool check) const;
  void inflate(const Entry& entry, uint64_t begin, uint64_t count, bool check,
               const PartCall& piece) const;
  [[noreturn]] void damaged(const Entry& entry, const std::string& what) const;

  std::string where_;
  std::vector<Entry> entries_;  // sorted by name
  bool has_checksums_ = false;
};

}  // namespace bertrand
