#include "checkpoint/zip_records.h"

#include <algorithm>
#include <concepts>

namespace bertrand {
namespace {

constexpr uint64_t kAlignment = 64;
constexpr size_t kLocalHeader = 30;
constexpr size_t kFieldHeader = 4;      // of an extra field
constexpr uint64_t kWide = 0xffffffff;  // this and above is told in 64 bits
constexpr uint64_t kMany = 0xffff;      // so many entries and more, too
constexpr uint16_t kWideField = 1;
constexpr uint16_t kVersion = 45;      // ZIP64
constexpr uint16_t kFlags = 0x0808;    // the checksum follows the content; names are UTF-8
constexpr uint16_t kDate = 0x21;       // 1 January 1980, so that files do not differ by the time
constexpr uint16_t kPadding = 0x4246;  // of an extra field without meaning, as PyTorch uses

/// Little-endian.
template <std::integral Number>
void append(std::string& text, Number number) {
  text.append(reinterpret_cast<const char*>(&number), sizeof number);
}

uint32_t narrow(uint64_t number) { return static_cast<uint32_t>(std::min(number, kWide)); }
uint16_t narrow_count(uint64_t number) { return static_cast<uint16_t>(std::min(number, kMany)); }

/// The extra field of numbers that are too wide for their places; empty where there are none.
std::string wide_field(const std::vector<uint64_t>& numbers) {
  std::string field;
  if (!numbers.empty()) {
    append(field, kWideField);
    append(field, static_cast<uint16_t>(numbers.size() * sizeof numbers[0]));
    for (const uint64_t number : numbers) append(field, number);
  }
  return field;
}

std::string directory_entry(const ZipRecord& entry) {
  std::vector<uint64_t> numbers;
  if (entry.size >= kWide) numbers = {entry.size, entry.size};
  if (entry.offset >= kWide) numbers.push_back(entry.offset);
  const std::string extra = wide_field(numbers);
  std::string header;
  append(header, uint32_t{0x02014b50});
  append(header, kVersion);
  append(header, kVersion);
  append(header, kFlags);
  append(header, uint16_t{0});  // stored
  append(header, uint16_t{0});  // time
  append(header, kDate);
  append(header, entry.crc);
  append(header, narrow(entry.size));
  append(header, narrow(entry.size));
  append(header, static_cast<uint16_t>(entry.name.size()));
  append(header, static_cast<uint16_t>(extra.size()));
  header.append(10, '\0');  // comment, disk, attributes
  append(header, narrow(entry.offset));
  return header + entry.name + extra;
}

/// The directory's own directory, and where to find it.
std::string wide_end(uint64_t count, uint64_t begin, uint64_t end) {
  std::string record;
  append(record, uint32_t{0x06064b50});
  append(record, uint64_t{44});  // bytes that follow
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
  return record;
}

}  // namespace

std::string zip_local_header(const ZipRecord& entry) {
  // The sizes follow the content; that they do so in 64 bits is told by the field here.
  const bool is_wide = entry.size >= kWide;
  std::string extra = is_wide ? wide_field({entry.size, entry.size}) : std::string();
  const uint64_t content =
      entry.offset + kLocalHeader + entry.name.size() + extra.size() + kFieldHeader;
  const auto padding = static_cast<uint16_t>((kAlignment - content % kAlignment) % kAlignment);
  append(extra, kPadding);
  append(extra, padding);
  extra.append(padding, '\0');
  const uint32_t size = is_wide ? narrow(kWide) : 0;
  std::string header;
  append(header, uint32_t{0x04034b50});
  append(header, kVersion);
  append(header, kFlags);
  append(header, uint16_t{0});  // stored
  append(header, uint16_t{0});  // time
  append(header, kDate);
  append(header, uint32_t{0});
  append(header, size);
  append(header, size);
  append(header, static_cast<uint16_t>(entry.name.size()));
  append(header, static_cast<uint16_t>(extra.size()));
  return header + entry.name + extra;
}

std::string zip_descriptor(const ZipRecord& entry) {
  std::string descriptor;
  append(descriptor, uint32_t{0x08074b50});
  append(descriptor, entry.crc);
  for (int i = 0; i < 2; ++i) {  // packed and not
    if (entry.size >= kWide) {
      append(descriptor, entry.size);
    } else {
      append(descriptor, narrow(entry.size));
    }
  }
  return descriptor;
}

std::string zip_directory(const std::vector<ZipRecord>& entries, uint64_t begin) {
  std::string directory;
  for (const ZipRecord& entry : entries) directory += directory_entry(entry);
  const uint64_t end = begin + directory.size();
  const auto count = static_cast<uint64_t>(entries.size());
  if (end >= kWide || count >= kMany) directory += wide_end(count, begin, end);
  append(directory, uint32_t{0x06054b50});
  append(directory, uint32_t{0});  // disks
  append(directory, narrow_count(count));
  append(directory, narrow_count(count));
  append(directory, narrow(end - begin));
  append(directory, narrow(begin));
  append(directory, uint16_t{0});
  return directory;
}

}  // namespace bertrand
