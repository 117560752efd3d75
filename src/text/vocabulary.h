#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace bertrand {

/// The word pieces of vocab.txt: line n (from 0) is the piece with id n; "##" marks one inside a
/// word. Lines end in LF or CR LF; blanks at the ends of a line and a byte order mark are not part
/// of a piece.
class Vocabulary {
 public:
  /// A piece that begins a text: its id (-1 where none does) and the bytes it takes there.
  struct Match {
    int32_t id;
    uint32_t length;
  };

  /// Throws Error naming the file, and (bad_input) the line, where the text is not UTF-8, a piece
  /// comes twice or is empty, or [UNK], [CLS], [SEP], [PAD] or [MASK] is missing.
  static Vocabulary load(const std::filesystem::path& path);
  static Vocabulary parse(std::string_view text, const std::string& where);

  size_t size() const { return begins_.size() - 1; }
  std::string_view piece(int32_t id) const {
    const uint32_t begin = begins_[static_cast<size_t>(id)];
    return {text_.data() + begin, begins_[static_cast<size_t>(id) + 1] - begin};
  }

  /// The id of a piece, spelled as in the file; -1 where there is none.
  int32_t find(std::string_view piece) const;

  /// The longest piece that `word` begins with; with `inside`, of those marked "##".
  Match find_longest(std::string_view word, bool inside) const;

  int32_t unknown_id() const { return unknown_; }  ///< [UNK]
  int32_t cls_id() const { return cls_; }
  int32_t sep_id() const { return sep_; }
  int32_t pad_id() const { return pad_; }
  int32_t mask_id() const { return mask_; }

 private:
  // The place of the spelling is repeated here to spare a look-up a cache miss.
  struct Slot {
    uint32_t check = 0;  // the upper half of the piece's hash
    int32_t id = -1;     // -1: free
    uint32_t begin = 0;  // in text_
    uint32_t length = 0;
  };

  Vocabulary() = default;
  void add(std::string_view piece, const std::string& where);
  void build_index(const std::string& where);
  int32_t look_up(uint64_t hash, std::string_view prefix, std::string_view rest) const;

  std::string text_;              // all pieces, one after the other
  std::vector<uint32_t> begins_;  // [size + 1]: where each piece begins in text_
  std::vector<Slot> slots_;       // a power of two of them; a piece lies in the first free one from
  uint64_t slot_mask_ = 0;        // the one its hash names
  uint32_t longest_ = 0;          // bytes of the longest piece, "##" too
  int32_t unknown_ = -1, cls_ = -1, sep_ = -1, pad_ = -1, mask_ = -1;
};

}  // namespace bertrand
