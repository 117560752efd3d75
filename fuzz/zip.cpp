#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "base/error.h"
#include "checkpoint/zip_archive.h"

/// Any bytes are either refused with an Error or make an archive whose entries are refused or read
/// within the memory that was asked for.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr uint64_t kMost = 1 << 16;
  using bertrand::ZipArchive;
  try {
    const auto archive = ZipArchive::parse(std::as_bytes(std::span(data, size)), "fuzz");
    for (const ZipArchive::Entry& entry : archive.entries()) {
      if (entry.bytes.size() > size || archive.find(entry.name) != &entry) std::abort();
      std::vector<std::byte> buffer;
      try {
        const uint64_t count = std::min(entry.size, kMost);
        const auto begin = entry.size - count;
        if (archive.read(entry, begin, count, /*check=*/true, buffer).size() != count) {
          std::abort();
        }
      } catch (const bertrand::Error&) {
      }
    }
  } catch (const bertrand::Error&) {
  }
  return 0;
}
