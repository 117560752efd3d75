// PyTorch's files made by hand, so that they may lie.
#pragma once

#include <cstdint>
#include <string>
#include <vector>
#include <zlib.h>

#include "checkpoint/fixtures.h"

namespace bertrand::test {

/// An entry of a ZIP archive: what it holds, and what the archive says of it.
struct MadeEntry {
  std::string name;
  std::string packed;  ///< as it lies in the archive
  uint64_t size = 0;   ///< unpacked, as told
  uint32_t crc = 0;
  bool deflated = false;
};

inline uint32_t crc_of(const std::string& content) {
  return static_cast<uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size()));
}

inline MadeEntry stored(const std::string& name, const std::string& content) {
  return {name, content, content.size(), crc_of(content), false};
}

inline MadeEntry deflated(const std::string& name, const std::string& content) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 1, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(deflateBound(&stream, content.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  packed.shrink_to_fit();
  return {name, packed, content.size(), crc_of(content), true};
}

template <typename Number>
std::string little_endian(Number number) {
  return {reinterpret_cast<const char*>(&number), sizeof number};
}

/// From the version on to the lengths of name and extra fields: the same in both headers.
inline std::string header_of(const MadeEntry& entry) {
  return little_endian(uint16_t{20}) + little_endian(uint16_t{0}) +
         little_endian(static_cast<uint16_t>(entry.deflated ? Z_DEFLATED : 0)) +
         little_endian(uint32_t{0}) + little_endian(entry.crc) +
         little_endian(static_cast<uint32_t>(entry.packed.size())) +
         little_endian(static_cast<uint32_t>(entry.size)) +
         little_endian(static_cast<uint16_t>(entry.name.size())) + little_endian(uint16_t{0});
}

inline std::string local_record(const MadeEntry& entry) {
  return "PK\x03\x04" + header_of(entry) + entry.name + entry.packed;
}

inline std::string central_record(const MadeEntry& entry, size_t offset) {
  return "PK\x01\x02" + little_endian(uint16_t{20}) + header_of(entry) + std::string(10, '\0') +
         little_endian(static_cast<uint32_t>(offset)) + entry.name;
}

inline std::string end_record(size_t count, size_t offset, size_t size) {
  const auto short_count = little_endian(static_cast<uint16_t>(count));
  return "PK\x05\x06" + std::string(4, '\0') + short_count + short_count +
         little_endian(static_cast<uint32_t>(size)) + little_endian(static_cast<uint32_t>(offset)) +
         std::string(2, '\0');
}

inline std::string made_zip(const std::vector<MadeEntry>& entries) {
  std::string file;
  std::string directory;
  for (const MadeEntry& entry : entries) {
    directory += central_record(entry, file.size());
    file += local_record(entry);
  }
  return file + directory + end_record(entries.size(), file.size(), directory.size());
}

/// A tensor of f32 in a storage of `elements`.
struct MadeTensor {
  std::string name;
  std::string key = "0";
  uint64_t elements = 0;
  uint64_t offset = 0;
  std::vector<uint64_t> shape;
  std::vector<uint64_t> strides;
};

inline std::string pickled(const MadeTensor& tensor) {
  const auto numbers = [](const std::vector<uint64_t>& values) {
    std::string text = "(";
    for (const uint64_t value : values) text.append("I").append(std::to_string(value)).append("\n");
    return text + "t";
  };
  return "ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\nS'" + tensor.key +
         "'\nS'cpu'\nI" + std::to_string(tensor.elements) + "\ntQI" +
         std::to_string(tensor.offset) + "\n" + numbers(tensor.shape) + numbers(tensor.strides) +
         "\x89}tR";
}

inline std::string pickled(const std::vector<MadeTensor>& tensors) {
  std::string text = "}";
  for (const MadeTensor& tensor : tensors)
    text += "S'" + tensor.name + "'\n" + pickled(tensor) + "s";
  return text + ".";
}

/// The archive of one storage, "0".
inline std::string made_torch(const std::vector<MadeTensor>& tensors, MadeEntry storage) {
  storage.name = "m/data/0";
  return made_zip({stored("m/data.pkl", pickled(tensors)), storage});
}

}  // namespace bertrand::test
