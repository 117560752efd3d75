#include "text/vocabulary.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/error.h"
#include "base/files.h"
#include "text/utf8.h"

namespace bertrand {

namespace {

constexpr std::string_view kInside = "##";
constexpr size_t kHashedAtOnce = 128;

// Far above any real one (a quarter of a million pieces, 4 MB): what reads it stays below 64 MB.
constexpr size_t kMostBytes = size_t{16} << 20;
constexpr size_t kMostPieces = size_t{1} << 20;

// FNV-1a, which gives the hashes of all prefixes on its way through a word.
constexpr uint64_t kHashBegin = 0xCBF29CE484222325;
constexpr uint64_t kHashPrime = 0x100000001B3;

constexpr uint64_t hash_byte(uint64_t hash, char byte) {
  return (hash ^ static_cast<unsigned char>(byte)) * kHashPrime;
}

constexpr uint64_t hash_text(std::string_view text, uint64_t hash = kHashBegin) {
  for (const char byte : text) hash = hash_byte(hash, byte);
  return hash;
}

constexpr uint32_t check_of(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }

// FNV's low bits are its weak ones; the upper half mixed in makes slots even.
constexpr uint64_t slot_of(uint64_t hash) { return hash ^ (hash >> 29); }

std::string_view trim(std::string_view line) {
  const size_t first = line.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return line.substr(first, line.find_last_not_of(" \t\r") - first + 1);
}

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw Error(ErrorCode::bad_input, where + ": " + what + ".");
}

}  // namespace

Vocabulary Vocabulary::load(const std::filesystem::path& path) {
  return parse(read_file(path, kMostBytes), path.string());
}

Vocabulary Vocabulary::parse(std::string_view text, const std::string& where) {
  const auto lines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
  if (text.size() > kMostBytes || lines > kMostPieces + 1) {
    fail(where, "has " + std::to_string(text.size()) + " bytes and " + std::to_string(lines) +
                    " lines; a vocabulary has " + std::to_string(kMostBytes) + " and " +
                    std::to_string(kMostPieces) + " at most, so this is none");
  }
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  Vocabulary vocabulary;
  vocabulary.text_.reserve(text.size());
  vocabulary.begins_.reserve(lines + 1);
  vocabulary.begins_.push_back(0);
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    vocabulary.add(trim(text.substr(0, end)), where);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  vocabulary.build_index(where);

  const auto special = [&](std::string_view piece) {
    const int32_t id = vocabulary.find(piece);
    if (id < 0) {
      fail(where,
           "the piece " + std::string(piece) +
               " is missing; give the vocab.txt of a BERT model, or add it on a line of its own");
    }
    return id;
  };
  vocabulary.unknown_ = special("[UNK]");
  vocabulary.cls_ = special("[CLS]");
  vocabulary.sep_ = special("[SEP]");
  vocabulary.pad_ = special("[PAD]");
  vocabulary.mask_ = special("[MASK]");
  return vocabulary;
}

void Vocabulary::add(std::string_view piece, const std::string& where) {
  const size_t line = begins_.size();
  if (piece.empty()) {
    fail(where, "line " + std::to_string(line) +
                    " is empty; a vocabulary holds one piece a line, take it out");
  }
  if (const size_t wrong = find_invalid_utf8(piece); wrong != std::string_view::npos) {
    fail(where, "line " + std::to_string(line) + " is not UTF-8 from its byte " +
                    std::to_string(wrong + 1) + " on; save the file as UTF-8");
  }
  text_ += piece;
  begins_.push_back(static_cast<uint32_t>(text_.size()));
  longest_ = std::max(longest_, static_cast<uint32_t>(piece.size()));
}

void Vocabulary::build_index(const std::string& where) {
  // At most half full.
  slots_.resize(std::bit_ceil(std::max<size_t>(2 * size(), 16)));
  slot_mask_ = slots_.size() - 1;
  for (size_t i = 0; i < size(); ++i) {
    const std::string_view spelling = piece(static_cast<int32_t>(i));
    const uint64_t hash = hash_text(spelling);
    if (const int32_t other = look_up(hash, {}, spelling); other >= 0) {
      fail(where, "line " + std::to_string(i + 1) + " repeats \"" + std::string(spelling) +
                      "\" of line " + std::to_string(other + 1) +
                      "; a piece may come only once, since its line is its id");
    }
    uint64_t slot = slot_of(hash) & slot_mask_;
    while (slots_[slot].id >= 0) slot = (slot + 1) & slot_mask_;
    slots_[slot] = {check_of(hash), static_cast<int32_t>(i), begins_[i],
                    static_cast<uint32_t>(spelling.size())};
  }
}

int32_t Vocabulary::look_up(uint64_t hash, std::string_view prefix, std::string_view rest) const {
  const uint32_t check = check_of(hash);
  for (uint64_t at = slot_of(hash) & slot_mask_; slots_[at].id >= 0; at = (at + 1) & slot_mask_) {
    const Slot& slot = slots_[at];
    if (slot.check != check || slot.length != prefix.size() + rest.size()) continue;
    const std::string_view found(text_.data() + slot.begin, slot.length);
    if (found.starts_with(prefix) && found.ends_with(rest)) return slot.id;
  }
  return -1;
}

int32_t Vocabulary::find(std::string_view piece) const {
  return look_up(hash_text(piece), {}, piece);
}

Vocabulary::Match Vocabulary::find_longest(std::string_view word, bool inside) const {
  constexpr uint64_t kInsideHash = hash_text(kInside);
  const std::string_view prefix = inside ? kInside : std::string_view();
  uint64_t hash = inside ? kInsideHash : kHashBegin;
  if (longest_ <= prefix.size()) return {-1, 0};
  const size_t limit = std::min<size_t>(word.size(), longest_ - prefix.size());

  // hashes[i]: of the first i + 1 bytes.
  std::array<uint64_t, kHashedAtOnce> few;
  std::vector<uint64_t> many;
  uint64_t* hashes = few.data();
  if (limit > kHashedAtOnce) {
    many.resize(limit);
    hashes = many.data();
  }
  for (size_t i = 0; i < limit; ++i) hashes[i] = hash = hash_byte(hash, word[i]);
  for (size_t length = limit; length > 0; --length) {
    const int32_t id = look_up(hashes[length - 1], prefix, word.substr(0, length));
    if (id >= 0) return {id, static_cast<uint32_t>(length)};
  }
  return {-1, 0};
}

}  // namespace bertrand
