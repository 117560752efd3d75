#include "checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <set>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace bertrand {
namespace {

constexpr size_t kLengthBytes = 8;
/// A tenth of the format's own limit, for the header's texts are copied as it is parsed; that of a
/// BERT has some 50 KB.
constexpr uint64_t kMaxHeaderBytes = 10'000'000;
constexpr std::string_view kMetadata = "__metadata__";

constexpr size_t kMaxDimensions = 64;  // more than any library's arrays have
constexpr size_t kMaxMetadata = 1 << 16;
constexpr size_t kMaxTensors = 1 << 16;
constexpr size_t kMaxName = 512;               // bytes
constexpr size_t kMaxAllDimensions = 1 << 20;  // of all tensors

/// A tensor as the header tells of it, nothing believed yet.
struct Entry {
  std::string name;
  std::optional<DataType> type;
  std::vector<uint64_t> shape;
  std::array<uint64_t, 2> offsets = {};  // begin and end, from the end of the header
  bool has_shape = false;
  bool has_offsets = false;
  uint8_t offset_count = 0;
};

std::optional<DataType> find_type(std::string_view name) {
  for (size_t place = 0; place < kDataTypes; ++place) {
    const auto type = static_cast<DataType>(place);
    if (bits_of(type) > 0 && name_of(type) == name) return type;
  }
  return std::nullopt;
}

/// For messages: in quotes, and nothing but printable ASCII.
std::string in_quotes(const std::string& name) {
  constexpr size_t kShown = 200;
  const std::string shown = name.size() > kShown ? name.substr(0, kShown) + "..." : name;
  return nlohmann::json(shown).dump(/*indent=*/-1, ' ', /*ensure_ascii=*/true,
                                    nlohmann::json::error_handler_t::replace);
}

std::string limit_text(size_t limit, const char* what) {
  return "holds more than the " + std::to_string(limit) + " " + what + " that are read";
}

/// Takes the header apart as it is parsed, so that memory stays within a few times its length
/// whatever it holds.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;
  std::string complaint;
  bool not_read = false;  ///< it complains of what is beyond a limit, and not wrong

  bool start_object(size_t /*elements*/) override {
    if (place_ == Place::start) {
      place_ = Place::tensors;
      return true;
    }
    if (place_ != Place::tensors) {
      return unexpected("an object");
    }
    if (key_ == kMetadata) {
      if (std::exchange(has_metadata_, true)) {
        return complain("the metadata is there twice");
      }
      place_ = Place::metadata;
    } else {
      if (entries.size() == kMaxTensors) {
        return exceed(limit_text(kMaxTensors, "tensors"));
      }
      place_ = Place::tensor;
      entries.emplace_back().name = key_;
    }
    return true;
  }

  bool key(string_t& name) override {
    key_ = std::move(name);
    if (place_ == Place::tensors && key_.size() > kMaxName) {
      return exceed("names a tensor by more than the " + std::to_string(kMaxName) +
                    " bytes that are read: " + in_quotes(key_));
    }
    if (place_ != Place::tensor) {
      return true;
    }
    const Entry& entry = entries.back();
    const bool again = (key_ == "dtype" && entry.type) || (key_ == "shape" && entry.has_shape) ||
                       (key_ == "data_offsets" && entry.has_offsets);
    if (again) {
      return complain("tensor " + in_quotes(entry.name) + " has " + in_quotes(key_) + " twice");
    }
    if (key_ != "dtype" && key_ != "shape" && key_ != "data_offsets") {
      return complain("tensor " + in_quotes(entry.name) + " has a field " + in_quotes(key_) +
                      " that the format does not know");
    }
    return true;
  }

  bool string(string_t& text) override {
    if (place_ == Place::metadata) {
      return add_metadata(std::move(text));
    }
    if (place_ != Place::tensor || key_ != "dtype") {
      return unexpected("a string");
    }
    entries.back().type = find_type(text);
    return entries.back().type ||
           exceed("tensor " + in_quotes(entries.back().name) + " has the type " + in_quotes(text) +
                  ", which is not read; leave it out, or save it in another");
  }

  bool start_array(size_t /*elements*/) override {
    if (place_ == Place::tensor && key_ == "shape") {
      place_ = Place::shape;
      entries.back().has_shape = true;
    } else if (place_ == Place::tensor && key_ == "data_offsets") {
      place_ = Place::offsets;
      entries.back().has_offsets = true;
    } else {
      return unexpected("an array");
    }
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::shape) {
      if (entries.back().shape.size() == kMaxDimensions) {
        return exceed("tensor " + in_quotes(entries.back().name) + ' ' +
                      limit_text(kMaxDimensions, "dimensions"));
      }
      if (++dimensions_ > kMaxAllDimensions) {
        return exceed(limit_text(kMaxAllDimensions, "dimensions of tensors"));
      }
      entries.back().shape.push_back(value);
      return true;
    }
    if (place_ == Place::offsets && entries.back().offset_count < 2) {
      entries.back().offsets[entries.back().offset_count++] = value;
      return true;
    }
    return unexpected("a number");
  }

  bool end_array() override {
    place_ = Place::tensor;
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensors) {
      place_ = Place::end;
      return true;
    }
    const bool was_tensor = place_ == Place::tensor;
    place_ = Place::tensors;
    if (!was_tensor) {
      return true;
    }
    const Entry& entry = entries.back();
    if (!entry.type || !entry.has_shape || entry.offset_count != 2) {
      return complain("tensor " + in_quotes(entry.name) +
                      " lacks one of dtype, shape and two data_offsets");
    }
    return true;
  }

  bool null() override { return unexpected("null"); }
  bool boolean(bool /*value*/) override { return unexpected("a truth value"); }
  bool number_integer(number_integer_t /*value*/) override {
    return unexpected("a negative number");
  }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override {
    return unexpected("a number that is not whole");
  }
  bool binary(nlohmann::json::binary_t& /*value*/) override { return unexpected("binary data"); }

  bool parse_error(size_t position, const std::string& /*token*/,
                   const nlohmann::detail::exception& /*error*/) override {
    return complain("it is not valid JSON at byte " + std::to_string(kLengthBytes + position));
  }

 private:
  enum class Place { start, tensors, metadata, tensor, shape, offsets, end };

  bool complain(std::string text) {
    if (complaint.empty()) {
      complaint = std::move(text);
    }
    return false;
  }
  bool exceed(std::string text) {
    not_read = true;
    return complain(std::move(text));
  }
  bool unexpected(const char* what) {
    return complain(std::string("there is ") + what + " out of place after " + in_quotes(key_));
  }

  bool add_metadata(std::string text) {
    if (metadata.size() == kMaxMetadata) {
      return exceed(limit_text(kMaxMetadata, "entries of metadata"));
    }
    return metadata.emplace(key_, std::move(text)).second ||
           complain("the metadata has " + in_quotes(key_) + " twice");
  }

  Place place_ = Place::start;
  bool has_metadata_ = false;
  size_t dimensions_ = 0;
  std::string key_;
};

[[noreturn]] void damaged(const std::string& where, const std::string& what) {
  throw Error(ErrorCode::bad_input,
              where + ": " + what + "; the file is damaged or not a safetensors file.");
}

HeaderReader read_header(std::string_view header, const std::string& where) {
  // The parser would skip a byte order mark, and take a zero byte for the end.
  if (!header.starts_with('{') || header.find('\0') != header.npos) {
    damaged(where, "the header does not begin with { or holds a zero byte");
  }
  HeaderReader reader;
  if (!nlohmann::json::sax_parse(header.begin(), header.end(), &reader)) {
    if (reader.not_read) throw Error(ErrorCode::bad_input, where + ": " + reader.complaint + ".");
    damaged(where, "the header cannot be read: " + reader.complaint);
  }
  return reader;
}

/// Bytes of a tensor; empty where they are more than can be counted, or end amid one.
std::optional<uint64_t> byte_size(const Entry& entry) {
  uint64_t size = bits_of(*entry.type);
  for (const uint64_t dimension : entry.shape) {
    if (dimension > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) ||
        __builtin_mul_overflow(size, dimension, &size)) {
      return std::nullopt;
    }
  }
  return size % 8 == 0 ? std::optional(size / 8) : std::nullopt;
}

/// Checks that the entries, in order of their offsets, fill `size` bytes one after the other.
void check_entries(const std::vector<Entry>& entries, uint64_t size, const std::string& where) {
  uint64_t end = 0;
  for (const Entry& entry : entries) {
    const uint64_t first = entry.offsets[0];
    const uint64_t last = entry.offsets[1];
    if (first > last || last > size) {
      damaged(where, "tensor " + in_quotes(entry.name) + " should be bytes " +
                         std::to_string(first) + " to " + std::to_string(last) + " of " +
                         std::to_string(size) + " after the header");
    }
    if (byte_size(entry) != last - first) {
      damaged(where, "the shape and type of tensor " + in_quotes(entry.name) +
                         " do not agree with its " + std::to_string(last - first) + " bytes");
    }
    if (first != end) {
      damaged(where, "tensor " + in_quotes(entry.name) +
                         (first < end ? " overlaps the one before it" : " comes after a gap") +
                         " at byte " + std::to_string(first) + " after the header");
    }
    end = last;
  }
  if (end != size) {
    damaged(where, std::to_string(size - end) + " bytes at the end belong to no tensor");
  }
}

void check_names(const std::vector<Entry>& entries, const std::string& where) {
  std::set<std::string_view> names;
  for (const Entry& entry : entries) {
    if (!names.insert(entry.name).second) {
      damaged(where, "tensor " + in_quotes(entry.name) + " is there twice");
    }
  }
}

}  // namespace

SafetensorsFile::Contents SafetensorsFile::parse(std::span<const std::byte> file,
                                                 const std::string& where) {
  if (file.size() < kLengthBytes) {
    damaged(where, "it has " + std::to_string(file.size()) + " bytes, too few for a header");
  }
  uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  const std::span<const std::byte> rest = file.subspan(kLengthBytes);
  if (length > rest.size()) {
    damaged(where, "the header should have " + std::to_string(length) + " bytes, and " +
                       std::to_string(rest.size()) + " are left");
  }
  if (length > kMaxHeaderBytes) {
    throw Error(ErrorCode::bad_input, where + ": has a header of " + std::to_string(length) +
                                          " bytes, and at most " + std::to_string(kMaxHeaderBytes) +
                                          " are read.");
  }
  HeaderReader header =
      read_header({reinterpret_cast<const char*>(rest.data()), static_cast<size_t>(length)}, where);
  std::sort(header.entries.begin(), header.entries.end(),
            [](const Entry& a, const Entry& b) { return a.offsets < b.offsets; });
  const std::span<const std::byte> data = rest.subspan(length);
  check_entries(header.entries, data.size(), where);
  check_names(header.entries, where);

  Contents contents;
  contents.metadata = std::move(header.metadata);
  contents.tensors.reserve(header.entries.size());
  for (Entry& entry : header.entries) {
    contents.tensors.push_back(
        {std::move(entry.name),
         *entry.type,
         {entry.shape.begin(), entry.shape.end()},
         data.subspan(entry.offsets[0], entry.offsets[1] - entry.offsets[0])});
  }
  return contents;
}

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  MappedFile file(path);
  Contents contents = parse(file.bytes(), path.string());
  return {std::move(file), std::move(contents)};
}

}  // namespace bertrand
