#include "checkpoint/tf_entries.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "checkpoint/cursor.h"
#include "checkpoint/sorted_table.h"

namespace bertrand {
namespace {

constexpr size_t kMostEntries = 1 << 16;
constexpr size_t kMostDimensions = 16;
constexpr size_t kMostName = 512;          // bytes; that of a slice is made from it, for each slice
constexpr size_t kMostSlices = 1 << 16;    // of all tensors
constexpr size_t kMostKeyBytes = 8 << 20;  // of all tensors
constexpr uint32_t kMostShards = 100'000;  // their names have five digits

/// A field of a message. Source: Protocol Buffers, "Encoding".
struct Field {
  uint64_t number = 0;
  uint64_t value = 0;                // of a varint or of four or eight bytes
  std::span<const std::byte> bytes;  // of a text or a message
};

/// Calls `field` with each field of a message in order.
template <typename Call>
void read_message(std::span<const std::byte> message, const std::string& where, const Call& call) {
  Cursor cursor(message, where);
  while (!cursor.at_end()) {
    const uint64_t tag = cursor.varint();
    Field field;
    field.number = tag >> 3;
    switch (tag & 7) {
      case 0:
        field.value = cursor.varint();
        break;
      case 1:
        field.value = cursor.number<uint64_t>();
        break;
      case 2:
        field.bytes = cursor.take(cursor.varint());
        break;
      case 5:
        field.value = cursor.number<uint32_t>();
        break;
      default:
        cursor.fail("holds a field of a kind that is not known");
    }
    call(field);
  }
}

[[noreturn]] void damaged(const std::string& where, const std::string& what) {
  throw Error(ErrorCode::bad_input, where + ": " + what + "; the file is damaged.");
}

/// Beyond what is read, and not wrong.
[[noreturn]] void too_large(const std::string& where, const std::string& what) {
  throw Error(ErrorCode::bad_input, where + ": " + what + " than are read.");
}

/// Numbers of tensorflow/core/framework/types.proto.
DataType data_type(uint64_t number) {
  switch (number) {
    case 1:
      return DataType::f32;
    case 2:
      return DataType::f64;
    case 3:
      return DataType::i32;
    case 4:
      return DataType::u8;
    case 5:
      return DataType::i16;
    case 6:
      return DataType::i8;
    case 7:
      return DataType::text;
    case 8:
      return DataType::c64;
    case 9:
      return DataType::i64;
    case 10:
      return DataType::boolean;
    case 14:
      return DataType::bf16;
    case 17:
      return DataType::u16;
    case 18:
      return DataType::c128;
    case 19:
      return DataType::f16;
    case 22:
      return DataType::u32;
    case 23:
      return DataType::u64;
    case 24:
      return DataType::f8_e5m2;
    case 25:
      return DataType::f8_e4m3;
    default:  // quantized, or of no numbers at all
      return DataType::unknown;
  }
}

std::vector<int64_t> read_shape(std::span<const std::byte> message, const std::string& where) {
  std::vector<int64_t> shape;
  read_message(message, where, [&](const Field& field) {
    if (field.number == 3 && field.value != 0) damaged(where, "a tensor's rank is not known");
    if (field.number != 2) return;
    if (shape.size() == kMostDimensions) too_large(where, "a tensor has more dimensions");
    int64_t size = 0;
    read_message(field.bytes, where, [&](const Field& dimension) {
      if (dimension.number == 1) size = static_cast<int64_t>(dimension.value);
    });
    shape.push_back(size);
  });
  return shape;
}

TfSlice read_slice(std::span<const std::byte> message, const std::string& where) {
  TfSlice slice;
  read_message(message, where, [&](const Field& field) {
    if (field.number != 1) return;
    if (slice.starts.size() == kMostDimensions) too_large(where, "a slice has more dimensions");
    int64_t start = 0;
    int64_t length = -1;
    read_message(field.bytes, where, [&](const Field& part) {
      if (part.number == 1) start = static_cast<int64_t>(part.value);
      if (part.number == 2) length = static_cast<int64_t>(part.value);
    });
    slice.starts.push_back(start);
    slice.lengths.push_back(length);
  });
  return slice;
}

/// `slices` counts those of all entries.
TfEntry read_entry(std::span<const std::byte> message, const std::string& where, size_t& slices) {
  TfEntry entry;
  read_message(message, where, [&](const Field& field) {
    switch (field.number) {
      case 1:
        entry.type = data_type(field.value);
        break;
      case 2:
        entry.shape = read_shape(field.bytes, where);
        break;
      case 3:
        entry.shard = static_cast<uint32_t>(std::min<uint64_t>(field.value, kMostShards));
        break;
      case 4:
        entry.offset = field.value;
        break;
      case 5:
        entry.size = field.value;
        break;
      case 6:
        entry.checksum = static_cast<uint32_t>(field.value);
        break;
      case 7:
        entry.slices.push_back(read_slice(field.bytes, where));
        slices += 1 + entry.slices.back().starts.size();
        if (slices > kMostSlices) too_large(where, "there are more slices");
        break;
      default:
        break;
    }
  });
  return entry;
}

/// The first form of TensorFlow's checkpoints is such a table, too, and holds the values as well;
/// its header begins with a message. Source: tensorflow/core/util/saved_tensor_slice.proto.
[[noreturn]] void refuse_old_form(const std::string& where) {
  throw Error(ErrorCode::bad_input,
              where +
                  ": is a checkpoint of TensorFlow's first form, one file without an index, which "
                  "is not read; load it with TensorFlow and save it again in the second: "
                  "tf.compat.v1.train.Saver(write_version=tf.compat.v1.train.SaverDef.V2).");
}

void read_header(std::span<const std::byte> message, const std::string& where, TfIndex& index) {
  read_message(message, where, [&](const Field& field) {
    if (field.number == 1 && !field.bytes.empty()) refuse_old_form(where);
    if (field.number == 1) {
      index.shards = static_cast<uint32_t>(std::min<uint64_t>(field.value, kMostShards));
    } else if (field.number == 2) {
      index.big_endian = field.value == 1;
    }
  });
  if (index.shards == 0 || index.shards == kMostShards) {
    damaged(where, "the number of data files is out of range");
  }
}

/// A number in order of its size: how many bytes it has, then these, the highest first.
void append_number(std::string& key, uint64_t number) {
  std::string bytes;
  for (; number != 0; number >>= 8) {
    bytes.insert(bytes.begin(), static_cast<char>(number & 0xff));
  }
  key += static_cast<char>(bytes.size());
  key += bytes;
}

/// A text that may not end early: 0 and 255 are told from the end, which is 0 1.
void append_text(std::string& key, const std::string& text) {
  for (const char letter : text) {
    key += letter;
    if (letter == '\0') key += '\xff';
    if (letter == '\xff') key += '\0';
  }
  key += '\0';
  key += '\1';
}

/// A number with a sign: as many leading one bits as it has bytes, then its two's complement.
void append_signed(std::string& key, int64_t number) {
  const auto magnitude = static_cast<uint64_t>(number < 0 ? ~number : number);
  size_t length = 1;
  while (length < 10 && (length * 7 - 1) < 64 && magnitude >> (length * 7 - 1) != 0) {
    ++length;
  }
  std::array<uint8_t, 10> bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) {
    const size_t shift = 8 * (bytes.size() - 1 - i);
    bytes[i] = static_cast<uint8_t>(shift < 64 ? static_cast<uint64_t>(number >> shift)
                                               : static_cast<uint64_t>(number < 0 ? -1 : 0));
  }
  uint8_t* begin = bytes.data() + (bytes.size() - length);
  begin[0] ^= static_cast<uint8_t>(length >= 8 ? 0xff : 0xff << (8 - length));
  if (length > 8) {
    begin[1] ^= static_cast<uint8_t>(0xff << (16 - length));
  }
  key.append(reinterpret_cast<const char*>(begin), length);
}

}  // namespace

TfIndex read_tf_index(std::span<const std::byte> file, const std::string& where, bool check) {
  TfIndex index;
  bool has_header = false;
  size_t slices = 0;
  size_t key_bytes = 0;
  read_sorted_table(
      file, where,
      [&](std::string_view key, std::span<const std::byte> value) {
        if (key.empty()) {
          if (has_header) damaged(where, "has two headers");
          read_header(value, where, index);
          has_header = true;
          return;
        }
        key_bytes += key.size();
        if (index.entries.size() == kMostEntries || key_bytes > kMostKeyBytes) {
          too_large(where, "holds more entries, or longer names of them,");
        }
        if (!key.starts_with('\0') && key.size() > kMostName) {
          too_large(where, "the name \"" + printable(key) + "\" has more bytes");
        }
        TfEntry entry = read_entry(value, where + ": \"" + printable(key) + "\"", slices);
        if (!index.entries.emplace(key, std::move(entry)).second) {
          damaged(where, "has \"" + printable(key) + "\" twice");
        }
      },
      check);
  if (!has_header) {
    throw Error(ErrorCode::bad_input,
                where + ": is a sorted table, but not the index of a TensorFlow checkpoint.");
  }
  return index;
}

std::string slice_key(const std::string& name, const TfSlice& slice) {
  std::string key;
  append_number(key, 0);
  append_text(key, name);
  append_number(key, slice.starts.size());
  for (size_t i = 0; i < slice.starts.size(); ++i) {
    append_signed(key, slice.starts[i]);
    append_signed(key, slice.lengths[i]);
  }
  return key;
}

}  // namespace bertrand
