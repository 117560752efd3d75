// Checkpoints of TensorFlow 1 made by hand: of any size, and able to lie.
#pragma once

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/crc32c.h"
#include "checkpoint/tensor.h"
#include "checkpoint/tf_entries.h"
#include "model/config.h"
#include "model/parameters.h"

namespace bertrand::test {

inline uint32_t masked_checksum(const std::string& text) {
  return masked_crc32c(crc32c(std::as_bytes(std::span(text.data(), text.size()))));
}

inline std::string varint(uint64_t value) {
  std::string text;
  for (; value >= 0x80; value >>= 7) text += static_cast<char>(value | 0x80);
  return text + static_cast<char>(value);
}

/// A field of a message: a number, or a text or message.
inline std::string field(uint64_t number, uint64_t value) {
  return varint(number << 3) + varint(value);
}
inline std::string field(uint64_t number, const std::string& value) {
  return varint(number << 3 | 2) + varint(value.size()) + value;
}

/// What an index tells of a tensor, or of a slice.
struct MadeVariable {
  std::vector<uint64_t> shape;
  uint64_t offset = 0;
  uint64_t size = 0;
  uint32_t checksum = 0;             ///< masked
  std::vector<TfSlice> slices = {};  ///< of a tensor; each is told by itself, too
  uint64_t type = 1;                 ///< a number of types.proto; 1 is f32
};

inline std::string message_of(const MadeVariable& variable) {
  std::string shape;
  for (const uint64_t size : variable.shape) shape += field(2, field(1, size));
  std::string message = field(1, variable.type) + field(2, shape) + field(4, variable.offset) +
                        field(5, variable.size) + varint(6 << 3 | 5);
  message.append(reinterpret_cast<const char*>(&variable.checksum), sizeof variable.checksum);
  for (const TfSlice& slice : variable.slices) {
    std::string extents;
    for (size_t i = 0; i < slice.starts.size(); ++i) {
      extents += field(1, field(1, static_cast<uint64_t>(slice.starts[i])) +
                              field(2, static_cast<uint64_t>(slice.lengths[i])));
    }
    message += field(7, extents);
  }
  return message;
}

/// A block of a table, with how it is packed and its checksum.
inline std::string block_of(const std::string& content, char packing = '\0') {
  const std::string body = content + packing;
  const uint32_t checksum = masked_checksum(body);
  return body + std::string(reinterpret_cast<const char*>(&checksum), sizeof checksum);
}

inline std::string entry_of(const std::string& key, const std::string& value) {
  return varint(0) + varint(key.size()) + varint(value.size()) + key + value;
}

/// A table whose one block of entries is `block`, packed or not.
inline std::string made_table(const std::string& block) {
  constexpr size_t kTrailer = 5;
  const std::string restarts("\0\0\0\0\1\0\0\0", 8);
  const std::string handle = varint(0) + varint(block.size() - kTrailer);
  const std::string index = block_of(entry_of("\xff", handle) + restarts);
  std::string footer =
      varint(0) + varint(0) + varint(block.size()) + varint(index.size() - kTrailer);
  footer.resize(40);
  return block + index + footer + "\x57\xfb\x80\x8b\x24\x75\x47\xdb";
}

/// The index of one data file.
inline std::string made_index(const std::map<std::string, MadeVariable>& variables) {
  std::string entries = entry_of("", field(1, 1));
  for (const auto& [name, variable] : variables) entries += entry_of(name, message_of(variable));
  return made_table(block_of(entries + std::string("\0\0\0\0\1\0\0\0", 8)));
}

/// A parameter as Google's TensorFlow code calls it, and whether it is stored turned.
inline std::pair<std::string, bool> tf_name(const ParameterInfo& info) {
  std::string name = info.name;
  const auto replace = [&](const std::string& old, const std::string& fresh) {
    if (const size_t place = name.find(old); place != std::string::npos) {
      name.replace(place, old.size(), fresh);
    }
  };
  replace("qa_outputs.weight", "cls.squad.output_weights");
  replace("qa_outputs.bias", "cls.squad.output_bias");
  replace("_embeddings.weight", "_embeddings");
  replace("LayerNorm.weight", "LayerNorm.gamma");
  replace("LayerNorm.bias", "LayerNorm.beta");
  replace("layer.", "layer_");
  const bool is_kernel = name.ends_with(".weight");
  replace(".weight", ".kernel");
  std::replace(name.begin(), name.end(), '.', '/');
  return {name, is_kernel};
}

/// Fills values of a parameter from number `at` on.
using BundleValues =
    std::function<void(const ParameterInfo& info, size_t at, std::span<float> values)>;

/// Writes parameters of a BERT under Google's names, the word embeddings in so many `parts`, slices
/// of rows. Little memory is needed.
inline void write_bundle(const std::string& prefix, const std::vector<ParameterInfo>& parameters,
                         const BundleValues& values, uint64_t parts = 1) {
  constexpr size_t kBlock = 1 << 16;
  std::ofstream data(prefix + ".data-00000-of-00001", std::ios::binary);
  std::map<std::string, MadeVariable> variables;
  std::vector<float> block(kBlock);
  uint64_t offset = 0;
  const auto write = [&](const ParameterInfo& info, size_t first, size_t last,
                         const std::vector<uint64_t>& shape) {
    uint32_t crc = 0;
    for (size_t at = first; at < last; at += kBlock) {
      const auto count = std::min(kBlock, last - at);
      values(info, at, std::span(block).first(count));
      const auto bytes = std::as_bytes(std::span(block).first(count));
      crc = crc32c(bytes, crc);
      data.write(reinterpret_cast<const char*>(bytes.data()),
                 static_cast<std::streamsize>(bytes.size()));
    }
    const uint64_t size = (last - first) * sizeof(float);
    offset += size;
    return MadeVariable{shape, offset - size, size, masked_crc32c(crc), {}};
  };
  for (const ParameterInfo& info : parameters) {
    const auto [name, is_kernel] = tf_name(info);
    std::vector<uint64_t> shape(info.shape.begin(), info.shape.end());
    if (is_kernel) std::reverse(shape.begin(), shape.end());
    if (parts == 1 || !name.ends_with("word_embeddings")) {
      variables[name] = write(info, 0, static_cast<size_t>(info.size()), shape);
      continue;
    }
    MadeVariable whole{shape, 0, 0, 0, {}};
    for (uint64_t part = 0; part < parts; ++part) {
      const uint64_t first = shape[0] * part / parts;
      const uint64_t rows = shape[0] * (part + 1) / parts - first;
      whole.slices.push_back({{static_cast<int64_t>(first), 0},
                              {static_cast<int64_t>(rows), static_cast<int64_t>(shape[1])}});
      variables[slice_key(name, whole.slices.back())] =
          write(info, first * shape[1], (first + rows) * shape[1], {rows, shape[1]});
    }
    variables[name] = whole;
  }
  std::ofstream(prefix + ".index", std::ios::binary) << made_index(variables);
}

/// A BERT with a span head whose values are counted up.
inline void write_bundle(const std::string& prefix, const BertConfig& config, uint64_t parts = 1) {
  write_bundle(
      prefix, bert_parameters(config),
      [](const ParameterInfo&, size_t at, std::span<float> values) {
        for (float& value : values) value = static_cast<float>(at++);
      },
      parts);
}

}  // namespace bertrand::test
