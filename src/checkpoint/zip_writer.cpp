#include "checkpoint/zip_writer.h"

#include <utility>
#include <zlib.h>

namespace bertrand {

void ZipWriter::put(std::string_view text) {
  file_.write(text);
  at_ += text.size();
}

void ZipWriter::begin(const std::string& name, uint64_t size) {
  entries_.push_back({name, size, at_});
  put(zip_local_header(entries_.back()));
}

void ZipWriter::write(std::span<const std::byte> bytes) {
  ZipRecord& entry = entries_.back();
  entry.crc = static_cast<uint32_t>(
      crc32_z(entry.crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
  file_.write(bytes);
  at_ += bytes.size();
}

void ZipWriter::end() { put(zip_descriptor(entries_.back())); }

void ZipWriter::add(const std::string& name, std::string_view content) {
  begin(name, content.size());
  write(std::as_bytes(std::span(content.data(), content.size())));
  end();
}

void ZipWriter::finish() {
  if (std::exchange(finished_, true)) return;
  put(zip_directory(entries_, at_));
  file_.flush();
}

void ZipWriter::commit() {
  finish();
  file_.commit();
}

}  // namespace bertrand
