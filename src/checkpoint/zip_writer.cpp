#include "checkpoint/zip_writer.h"

#include <algorithm>
#include <concepts>
#include <zlib.h>

namespace bertrand {
namespace {

constexpr uint64_t kAlignment = 64;
constexpr size_t kLocalHeader = 30;
constexpr uint64_t kWide = 0xffffffff;  // this and above is told in 64 bits
constexpr uint16_t kVersion = 45;       // ZIP64
constexpr uint16_t kFlags = 0x0808;     // the checksum follows the content; names are UTF-8
constexpr uint16_t kDate = 0x21;        // 1 January 1980, so that files do not differ by the time
constexpr uint16_t kPadding = 0x4246;   // of an extra field without meaning, as PyTorch uses

/// Little-endian.
template <std::integral Number>
void append(std::string& text, Number number) {
  text.append(reinterpret_cast<const char*>(&number), sizeof number);
}

uint32_t narrow(uint64_t number) { return static_cast<uint32_t>(std::min(number, kWide)); }

}  // namespace

void ZipWriter::put(std::string_view text) {
  file_.write(text);
  at_ += text.size();
}

void ZipWriter::begin(const std::string& name, uint64_t size) {
  entries_.push_back({name, size, at_});
  constexpr size_t kFieldHeader = 4;
  const uint64_t content = at_ + kLocalHeader + name.size() + kFieldHeader;
  const auto padding = static_cast<uint16_t>((kAlignment - content % kAlignment) % kAlignment);
  std::string header;
  append(header, uint32_t{0x04034b50});
  append(header, kVersion);
  append(header, kFlags);
  append(header, uint16_t{0});  // stored
  append(header, uint16_t{0});  // time
  append(header, kDate);
  append(header, uint32_t{0});  // checksum and sizes follow the content
  append(header, uint32_t{0});
  append(header, uint32_t{0});
  append(header, static_cast<uint16_t>(name.size()));
  append(header, static_cast<uint16_t>(kFieldHeader + padding));
  header += name;
  append(header, kPadding);
  append(header, padding);
  header.append(padding, '\0');
  put(header);
}

void ZipWriter::write(std::span<const std::byte> bytes) {
  Entry& entry = entries_.back();
  entry.crc = static_cast<uint32_t>(
      crc32_z(entry.crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
  file_.write(bytes);
  at_ += bytes.size();
}

void ZipWriter::end() {
  const Entry& entry = entries_.back();
  std::string descriptor;
  append(descriptor, uint32_t{0x08074b50});
  append(descriptor, entry.crc);
  if (entry.size >= kWide) {
    append(descriptor, entry.size);
    append(descriptor, entry.size);
  } else {
    append(descriptor, narrow(entry.size));
    append(descriptor, narrow(entry.size));
  }
  put(descriptor);
}

void ZipWriter::add(const std::string& name, std::string_view content) {
  begin(name, content.size());
  write(std::as_bytes(std::span(content.data(), content.size())));
  end();
}

void ZipWriter::commit() {
  const uint64_t begin = at_;
  for (const Entry& entry : entries_) {
    std::string wide;
    if (entry.size >= kWide) {
      append(wide, entry.size);
      append(wide, entry.size);
    }
    if (entry.offset >= kWide) append(wide, entry.offset);
    std::string extra;
    if (!wide.empty()) {
      append(extra, uint16_t{1});
      append(extra, static_cast<uint16_t>(wide.size()));
      extra += wide;
    }
    std::string header;
    append(header, uint32_t{0x02014b50});
    append(header, kVersion);
    append(header, kVersion);
    append(header, kFlags);
    append(header, uint16_t{0});
    append(header, uint16_t{0});
    append(header, kDate);
    append(header, entry.crc);
    append(header, narrow(entry.size));
    append(header, narrow(entry.size));
    append(header, static_cast<uint16_t>(entry.name.size()));
    append(header, static_cast<uint16_t>(extra.size()));
    header.append(10, '\0');  // comment, disk, attributes
    append(header, narrow(entry.offset));
    header += entry.name;
    header += extra;
    put(header);
  }
  const uint64_t end = at_;
  const auto count = static_cast<uint64_t>(entries_.size());
  std::string record;
  if (end >= kWide || count >= 0xffff) {
    append(record, uint32_t{0x06064b50});
    append(record, uint64_t{44});
    append(record, kVersion);
    append(record, kVersion);
    append(record, uint64_t{0});  // disks
    append(record, count);
    append(record, count);
    append(record, end - begin);
    append(record, begin);
    append(record, uint32_t{0x07064b50});
    append(record, uint32_t{0});
    append(record, end);
    append(record, uint32_t{1});
  }
  append(record, uint32_t{0x06054b50});
  append(record, uint32_t{0});  // disks
  append(record, static_cast<uint16_t>(std::min<uint64_t>(count, 0xffff)));
  append(record, static_cast<uint16_t>(std::min<uint64_t>(count, 0xffff)));
  append(record, narrow(end - begin));
  append(record, narrow(begin));
  append(record, uint16_t{0});
  put(record);
  file_.commit();
}

}  // namespace bertrand
