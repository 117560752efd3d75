#include "squad/window_table.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <iterator>
#include <string>
#include <vector>
#include <zlib.h>

#include <fmt/format.h>

#include "base/thread_pool.h"

namespace bertrand {
namespace {

static_assert(std::endian::native == std::endian::little, "the checksums are of little-endian");

template <typename T>
uint32_t checksum(std::span<const T> values) {
  return static_cast<uint32_t>(
      ::crc32_z(0, reinterpret_cast<const Bytef*>(values.data()), values.size_bytes()));
}

/// Makes lines; one a thread.
class LineMaker {
 public:
  void append(const std::string& id, const Window& window, std::string& lines) {
    segments_.assign(window.ids.size(), 1);
    std::fill_n(segments_.begin(), window.document_begin, 0);
    fmt::format_to(std::back_inserter(lines),
                   "{}\t{}\t{}\t{:08x}\t{:08x}\t{:08x}\t{:08x}\t{}\t{}\n", id, window.index,
                   window.ids.size(), checksum(window.ids),
                   checksum(std::span<const int32_t>(segments_)), words_.of(window.words),
                   max_context_.of(window.max_context), window.start, window.end);
  }

 private:
  /// Questions about the same paragraph mostly share these, so the last one is kept.
  template <typename T>
  class LastChecksum {
   public:
    uint32_t of(std::span<const T> values) {
      if (values.data() != last_.data() || values.size() != last_.size()) {
        last_ = values;
        checksum_ = checksum(values);
      }
      return checksum_;
    }

   private:
    std::span<const T> last_;
    uint32_t checksum_ = 0;
  };

  std::vector<int32_t> segments_;
  LastChecksum<uint32_t> words_;
  LastChecksum<uint8_t> max_context_;
};

}  // namespace

void write_window_table(const Dataset& dataset, const WindowSet& windows, unsigned threads,
                        const std::function<void(std::string_view lines)>& write) {
  constexpr size_t kChunkWindows = 512;
  constexpr size_t kRoundChunks = 256;  // so that the lines of a large set are never all there
  ThreadPool pool(std::max(1U, threads));
  std::vector<LineMaker> makers(pool.size());
  std::vector<std::string> chunks(kRoundChunks);
  for (size_t round = 0; round < windows.size(); round += kChunkWindows * kRoundChunks) {
    const size_t left = windows.size() - round;
    const size_t count = std::min(kRoundChunks, (left + kChunkWindows - 1) / kChunkWindows);
    pool.for_each(count, [&](size_t chunk, unsigned worker) {
      const size_t begin = round + chunk * kChunkWindows;
      const size_t end = std::min(windows.size(), begin + kChunkWindows);
      chunks[chunk].clear();
      for (size_t i = begin; i < end; ++i) {
        const Window window = windows[i];
        makers[worker].append(dataset.examples[window.example].id, window, chunks[chunk]);
      }
    });
    for (size_t chunk = 0; chunk < count; ++chunk) write(chunks[chunk]);
  }
}

}  // namespace bertrand
