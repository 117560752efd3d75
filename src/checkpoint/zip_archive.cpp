#include "checkpoint/zip_archive.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <memory>
#include <zlib.h>

#include "base/error.h"
#include "checkpoint/cursor.h"
#include "checkpoint/tensor.h"

namespace bertrand {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50;
constexpr uint32_t kCentralHeader = 0x02014b50;
constexpr uint32_t kEnd = 0x06054b50;
constexpr uint32_t kEnd64 = 0x06064b50;
constexpr uint32_t kEnd64Locator = 0x07064b50;
constexpr size_t kEndSize = 22;
constexpr size_t kLocatorSize = 20;
constexpr size_t kLocalHeaderSize = 30;
constexpr size_t kCentralHeaderSize = 46;
constexpr size_t kMostComment = 0xffff;
constexpr uint32_t kIn64 = 0xffffffff;  // the number is in the ZIP64 field
constexpr uint16_t kZip64Field = 1;
constexpr uint64_t kMostRatio = 1032;  // deflate cannot shrink more
constexpr size_t kMostEntries = 1 << 16;
constexpr size_t kMostName = 1024;

struct Directory {
  uint64_t entries = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
};

struct Header {
  ZipArchive::Entry entry;
  uint16_t flags = 0;
  uint16_t method = 0;
  uint64_t stored = 0;  // bytes in the archive
  uint64_t offset = 0;  // of the local header
};

/// Bytes of the file that belong to one entry or to the directory.
struct Range {
  uint64_t begin = 0;
  uint64_t end = 0;
  std::string_view name;
};

uint32_t number_at(std::span<const std::byte> bytes, size_t place) {
  uint32_t number = 0;
  std::memcpy(&number, bytes.data() + place, sizeof number);
  return number;
}

/// Where the record stands that ends the archive; a comment of any text may follow it.
size_t find_end(std::span<const std::byte> file, const std::string& where) {
  for (size_t back = kEndSize; back <= std::min(file.size(), kEndSize + kMostComment); ++back) {
    const size_t place = file.size() - back;
    if (number_at(file, place) == kEnd) {
      return place;
    }
  }
  throw Error(ErrorCode::bad_input, where +
                                        ": the directory of this ZIP file is not at its end; the "
                                        "file is cut off (was it copied whole?).");
}

Directory read_end(std::span<const std::byte> file, const std::string& where) {
  const size_t end = find_end(file, where);
  Cursor cursor(file.subspan(end), where, end);
  cursor.take(10);
  Directory directory;
  directory.entries = cursor.number<uint16_t>();
  directory.size = cursor.number<uint32_t>();
  directory.offset = cursor.number<uint32_t>();
  if (end < kLocatorSize || number_at(file, end - kLocatorSize) != kEnd64Locator) {
    return directory;
  }
  Cursor locator(file.subspan(end - kLocatorSize), where, end - kLocatorSize);
  locator.take(8);
  const auto place = locator.number<uint64_t>();
  if (place > file.size()) {
    locator.fail("points to a directory behind its end");
  }
  Cursor end64(file.subspan(static_cast<size_t>(place)), where, static_cast<size_t>(place));
  if (end64.number<uint32_t>() != kEnd64) {
    end64.fail("has no ZIP64 directory where it should be");
  }
  end64.take(28);
  directory.entries = end64.number<uint64_t>();
  directory.size = end64.number<uint64_t>();
  directory.offset = end64.number<uint64_t>();
  return directory;
}

/// Takes from an entry's extra fields the numbers that need 64 bits.
void read_zip64(Cursor extra, Header& header) {
  const bool wide[] = {header.entry.size == kIn64, header.stored == kIn64, header.offset == kIn64};
  uint64_t* const numbers[] = {&header.entry.size, &header.stored, &header.offset};
  while (extra.left() >= 4) {
    const auto id = extra.number<uint16_t>();
    const auto length = extra.number<uint16_t>();
    if (id != kZip64Field) {
      extra.take(std::min<size_t>(length, extra.left()));
      continue;
    }
    for (size_t i = 0; i < std::size(numbers); ++i) {
      if (wide[i]) {
        *numbers[i] = extra.number<uint64_t>();
      }
    }
    return;
  }
}

Header read_header(Cursor& cursor, const std::string& where) {
  if (cursor.number<uint32_t>() != kCentralHeader) {
    cursor.fail("has a directory with a damaged entry");
  }
  Header header;
  cursor.take(4);
  header.flags = cursor.number<uint16_t>();
  header.method = cursor.number<uint16_t>();
  cursor.take(4);
  header.entry.crc = cursor.number<uint32_t>();
  header.stored = cursor.number<uint32_t>();
  header.entry.size = cursor.number<uint32_t>();
  const auto name = cursor.number<uint16_t>();
  const auto extra = cursor.number<uint16_t>();
  const auto comment = cursor.number<uint16_t>();
  cursor.take(8);
  header.offset = cursor.number<uint32_t>();
  if (name > kMostName) {
    cursor.fail("has an entry with a name of " + std::to_string(name) + " bytes");
  }
  header.entry.name = cursor.text(name);
  const size_t place = cursor.at();
  read_zip64(Cursor(cursor.take(extra), where, place), header);
  cursor.take(comment);
  return header;
}

/// The stored bytes of an entry; what its local header says beyond its own length is not needed.
std::span<const std::byte> stored_bytes(std::span<const std::byte> file, const Header& header,
                                        const std::string& where) {
  const std::string at = where + ": entry \"" + printable(header.entry.name) + "\"";
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorCode::bad_input, at + " " + what + ".");
  };
  if ((header.flags & 1) != 0) {
    refuse("is encrypted, which is not supported");
  }
  if (header.method != 0 && header.method != Z_DEFLATED) {
    refuse("is packed by method " + std::to_string(header.method) +
           "; only stored and deflated entries are read");
  }
  if (header.offset > file.size() || file.size() - header.offset < kLocalHeaderSize ||
      number_at(file, static_cast<size_t>(header.offset)) != kLocalHeader) {
    refuse("is not where the directory says; the file is damaged");
  }
  Cursor local(file.subspan(static_cast<size_t>(header.offset)), at,
               static_cast<size_t>(header.offset));
  local.take(26);
  const auto name = local.number<uint16_t>();
  const auto extra = local.number<uint16_t>();
  if (local.text(name) != header.entry.name) {
    refuse("has another name in its own header; the file is damaged");
  }
  local.take(extra);
  const auto bytes = local.take(header.stored);
  if (header.method == 0 ? header.entry.size != header.stored
                         : header.entry.size / kMostRatio > header.stored) {
    refuse("cannot have " + std::to_string(header.entry.size) + " bytes, packed as " +
           std::to_string(header.stored) + "; the file is damaged");
  }
  return bytes;
}

uint32_t crc_of(std::span<const std::byte> bytes, uint32_t crc = 0) {
  return static_cast<uint32_t>(
      crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

/// A small file whose entries share their bytes could unpack to any size.
void refuse_overlaps(std::vector<Range> ranges, const std::string& where) {
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.begin < b.begin; });
  const auto found = std::adjacent_find(
      ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.end > b.begin; });
  if (found != ranges.end()) {
    throw Error(ErrorCode::bad_input, where + ": entry \"" + printable(found->name) +
                                          "\" lies over what follows it at byte " +
                                          std::to_string(std::next(found)->begin) +
                                          "; the file is damaged.");
  }
}

}  // namespace

ZipArchive ZipArchive::parse(std::span<const std::byte> file, const std::string& where) {
  const Directory directory = read_end(file, where);
  if (directory.offset > file.size() || directory.size > file.size() - directory.offset) {
    throw Error(ErrorCode::bad_input,
                where + ": the directory of this ZIP file lies behind its end; it is damaged.");
  }
  if (directory.entries > kMostEntries || directory.entries * kCentralHeaderSize > directory.size) {
    throw Error(ErrorCode::bad_input, where + ": the directory of this ZIP file cannot hold " +
                                          std::to_string(directory.entries) +
                                          " entries; it is damaged.");
  }
  ZipArchive archive;
  archive.where_ = where;
  std::vector<Range> ranges = {
      {directory.offset, directory.offset + directory.size, "(the directory)"}};
  Cursor cursor(
      file.subspan(static_cast<size_t>(directory.offset), static_cast<size_t>(directory.size)),
      where, static_cast<size_t>(directory.offset));
  for (uint64_t i = 0; i < directory.entries; ++i) {
    Header header = read_header(cursor, where);
    header.entry.deflated = header.method == Z_DEFLATED;
    header.entry.bytes = stored_bytes(file, header, where);
    const auto end = static_cast<uint64_t>(header.entry.bytes.data() - file.data());
    ranges.push_back({header.offset, end + header.stored, header.entry.name});
    archive.entries_.push_back(header.entry);
    archive.has_checksums_ = archive.has_checksums_ || header.entry.crc != 0;
  }
  refuse_overlaps(std::move(ranges), where);
  const auto by_name = [](const Entry& a, const Entry& b) { return a.name < b.name; };
  std::sort(archive.entries_.begin(), archive.entries_.end(), by_name);
  const auto same =
      std::adjacent_find(archive.entries_.begin(), archive.entries_.end(),
                         [](const auto& a, const auto& b) { return a.name == b.name; });
  if (same != archive.entries_.end()) {
    archive.damaged(*same, "is there twice");
  }
  return archive;
}

const ZipArchive::Entry* ZipArchive::find(std::string_view name) const {
  const auto found =
      std::lower_bound(entries_.begin(), entries_.end(), name,
                       [](const Entry& a, std::string_view b) { return a.name < b; });
  return found == entries_.end() || found->name != name ? nullptr : &*found;
}

void ZipArchive::check_range(const Entry& entry, uint64_t begin, uint64_t count) const {
  if (begin > entry.size || count > entry.size - begin) {
    damaged(entry, "is too short");
  }
}

std::span<const std::byte> ZipArchive::stored(const Entry& entry, uint64_t begin, uint64_t count,
                                              bool check) const {
  if (check && has_checksums_ && crc_of(entry.bytes) != entry.crc) {
    damaged(entry, "does not have the checksum that the directory says");
  }
  return entry.bytes.subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
}

std::span<const std::byte> ZipArchive::read(const Entry& entry, uint64_t begin, uint64_t count,
                                            bool check, std::vector<std::byte>& buffer) const {
  check_range(entry, begin, count);
  if (!entry.deflated) {
    return stored(entry, begin, count, check);
  }
  make_room(buffer, static_cast<size_t>(count),
            where_ + ": entry \"" + printable(entry.name) + "\"");
  std::byte* out = buffer.data();
  inflate(entry, begin, count, check, [&](std::span<const std::byte> piece) {
    out = std::copy(piece.begin(), piece.end(), out);
  });
  return buffer;
}

void ZipArchive::read_parts(const Entry& entry, uint64_t begin, uint64_t count, bool check,
                            const PartCall& part) const {
  check_range(entry, begin, count);
  if (!entry.deflated) {
    part(stored(entry, begin, count, check));
    return;
  }
  std::vector<std::byte> block;
  block.reserve(static_cast<size_t>(std::min<uint64_t>(count, kPartBytes)));
  inflate(entry, begin, count, check, [&](std::span<const std::byte> piece) {
    while (!piece.empty()) {
      const auto first = piece.first(std::min(piece.size(), kPartBytes - block.size()));
      block.insert(block.end(), first.begin(), first.end());
      piece = piece.subspan(first.size());
      if (block.size() == kPartBytes) {
        part(block);
        block.clear();
      }
    }
  });
  if (!block.empty() || count == 0) part(block);
}

/// Unpacks an entry and calls `piece` with what lies in [begin, begin + count).
void ZipArchive::inflate(const Entry& entry, uint64_t begin, uint64_t count, bool check,
                         const PartCall& piece) const {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
    throw Error(ErrorCode::runtime, where_ + ": zlib has no memory to unpack with.");
  }
  const std::unique_ptr<z_stream, decltype(&inflateEnd)> guard(&stream, inflateEnd);
  std::array<std::byte, 1 << 16> window;
  uint64_t done = 0;  // bytes of the content so far
  uint32_t crc = 0;
  size_t given = 0;
  for (int state = Z_OK; state != Z_STREAM_END;) {
    if (stream.avail_in == 0) {
      const size_t more = std::min<size_t>(entry.bytes.size() - given, 1 << 30);
      stream.next_in =
          const_cast<Bytef*>(reinterpret_cast<const Bytef*>(entry.bytes.data() + given));
      stream.avail_in = static_cast<uInt>(more);
      given += more;
    }
    stream.next_out = reinterpret_cast<Bytef*>(window.data());
    stream.avail_out = static_cast<uInt>(window.size());
    state = ::inflate(&stream, Z_NO_FLUSH);
    const std::span<const std::byte> made(window.data(), window.size() - stream.avail_out);
    if ((state != Z_OK && state != Z_STREAM_END) || made.size() > entry.size - done) {
      damaged(entry, "cannot be unpacked");
    }
    const uint64_t from = std::max(done, begin);
    const uint64_t to = std::min(done + made.size(), begin + count);
    if (from < to) {
      piece(made.subspan(static_cast<size_t>(from - done), static_cast<size_t>(to - from)));
    }
    done += made.size();
    crc = check ? crc_of(made, crc) : crc;
    if (!check && done >= begin + count) {
      return;
    }
  }
  if (done != entry.size || (check && has_checksums_ && crc != entry.crc)) {
    damaged(entry, "does not unpack to what the directory says");
  }
}

void ZipArchive::damaged(const Entry& entry, const std::string& what) const {
  throw Error(ErrorCode::bad_input, where_ + ": entry \"" + printable(entry.name) + "\" " + what +
                                        "; the file is damaged.");
}

}  // namespace bertrand
