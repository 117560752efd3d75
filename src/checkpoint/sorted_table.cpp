#include "checkpoint/sorted_table.h"

#include <snappy.h>
#include <vector>

#include "base/error.h"
#include "checkpoint/crc32c.h"
#include "checkpoint/cursor.h"

namespace bertrand {
namespace {

constexpr size_t kFooter = 48;
constexpr size_t kTrailer = 5;  // of a block: how it is packed, and its checksum
constexpr uint64_t kMagic = 0xdb4775248b80fb57;
constexpr size_t kMostBlock = 4 << 20;  // unpacked; TensorFlow begins a new one at 256 KB
constexpr size_t kMostKey = 1 << 16;

using EntryCall = std::function<void(std::string_view, std::span<const std::byte>)>;

struct Handle {
  uint64_t offset = 0;
  uint64_t size = 0;
};

Handle read_handle(Cursor& cursor) {
  const uint64_t offset = cursor.varint();
  return {offset, cursor.varint()};
}

class TableReader {
 public:
  TableReader(std::span<const std::byte> file, const std::string& where, bool check)
      : file_(file), where_(where), check_(check) {}

  void read(const EntryCall& entry) {
    const size_t place = file_.size() - kFooter;
    Cursor footer(file_.subspan(place), where_, place);
    read_handle(footer);  // of blocks about the table, of which none matters here
    uint64_t end = 0;     // of the blocks so far: they come one after the other, each once
    std::vector<std::byte> unpacked;
    std::vector<std::byte> unpacked_index;
    const auto index = block(read_handle(footer), unpacked_index);
    entries(index, [&](std::string_view, std::span<const std::byte> value) {
      Cursor cursor(value, where_);
      const Handle handle = read_handle(cursor);
      if (handle.offset < end) cursor.fail("a block lies over another");
      const auto bytes = block(handle, unpacked);
      end = handle.offset + handle.size + kTrailer;
      entries(bytes, entry);
    });
  }

 private:
  std::span<const std::byte> block(const Handle& handle, std::vector<std::byte>& unpacked) const {
    const size_t most = file_.size() - kFooter;
    if (handle.offset > most || handle.size > most - handle.offset ||
        most - handle.offset - handle.size < kTrailer) {
      throw Error(ErrorCode::bad_input,
                  where_ + ": a block lies outside the file, which is damaged or cut off.");
    }
    const auto place = static_cast<size_t>(handle.offset);
    const auto size = static_cast<size_t>(handle.size);
    Cursor trailer(file_.subspan(place + size, kTrailer), where_, place + size);
    const uint8_t packing = trailer.byte();
    const auto checksum = trailer.number<uint32_t>();
    const auto bytes = file_.subspan(place, size);
    if (check_ && masked_crc32c(crc32c(file_.subspan(place, size + 1))) != checksum) {
      trailer.fail("a block does not have the checksum it should");
    }
    if (packing == 0) {
      return bytes;
    }
    size_t length = 0;
    const auto* packed = reinterpret_cast<const char*>(bytes.data());
    if (packing != 1 || !snappy::GetUncompressedLength(packed, size, &length) ||
        length > kMostBlock) {
      trailer.fail("a block is packed in a way that is not known");
    }
    unpacked.resize(length);
    if (!snappy::RawUncompress(packed, size, reinterpret_cast<char*>(unpacked.data()))) {
      trailer.fail("a block cannot be unpacked");
    }
    return unpacked;
  }

  void entries(std::span<const std::byte> block, const EntryCall& entry) const {
    Cursor ending(block, where_);
    if (block.size() < sizeof(uint32_t)) ending.fail("a block is too short");
    Cursor last(block.last(sizeof(uint32_t)), where_);
    const auto restarts = last.number<uint32_t>();
    if (restarts > block.size() / sizeof(uint32_t) - 1) ending.fail("a block is too short");
    Cursor cursor(block.first(block.size() - (size_t{restarts} + 1) * sizeof(uint32_t)), where_);
    std::string key;
    while (!cursor.at_end()) {
      const uint64_t shared = cursor.varint();
      const uint64_t rest = cursor.varint();
      const uint64_t value = cursor.varint();
      if (shared > key.size() || rest > kMostKey || shared + rest > kMostKey) {
        cursor.fail("a key is longer than it can be");
      }
      key.resize(static_cast<size_t>(shared));
      key.append(cursor.text(rest));
      entry(key, cursor.take(value));
    }
  }

  std::span<const std::byte> file_;
  const std::string& where_;
  bool check_;
};

}  // namespace

bool is_sorted_table(std::span<const std::byte> file) {
  if (file.size() < kFooter) {
    return false;
  }
  return Cursor(file.last(sizeof kMagic), "").number<uint64_t>() == kMagic;
}

void read_sorted_table(std::span<const std::byte> file, const std::string& where,
                       const EntryCall& entry, bool check) {
  if (!is_sorted_table(file)) {
    throw Error(ErrorCode::bad_input,
                where + ": does not end as an index of TensorFlow does; it is damaged or cut off.");
  }
  TableReader(file, where, check).read(entry);
}

}  // namespace bertrand
