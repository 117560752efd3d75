#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace bertrand {

/// The word pieces of vocab.txt: line n is the piece with id n; "##" marks one inside a word.
class Vocabulary {
 public:
  /// Throws Error naming the file, and (bad_input) the line, where the text is not UTF-8, a piece
  /// comes twice or is empty, or [UNK], [CLS], [SEP], [PAD] or [MASK] is missing.
  static Vocabulary load(const std::filesystem::path& path);
  static Vocabulary parse(std::string_view text, const std::string& where);

  size_t size() const { return pieces_.size(); }
  std::string_view piece(int32_t id) const { return pieces_[static_cast<size_t>(id)]; }

  /// The id of a piece, spelled as in the file; -1 where there is none.
  int32_t find(std::string_view piece) const;

  int32_t unknown_id() const { return unknown_; }  ///< [UNK]
  int32_t cls_id() const { return cls_; }
  int32_t sep_id() const { return sep_; }
  int32_t pad_id() const { return pad_; }
  int32_t mask_id() const { return mask_; }

 private:
  std::vector<std::string> pieces_;
  int32_t unknown_ = -1, cls_ = -1, sep_ = -1, pad_ = -1, mask_ = -1;
};

}  // namespace bertrand
