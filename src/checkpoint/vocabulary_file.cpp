#include "checkpoint/vocabulary_file.h"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"

namespace bertrand {
namespace {

namespace fs = std::filesystem;

using nlohmann::json;

constexpr const char* kText = "vocab.txt";
constexpr const char* kJson = "tokenizer.json";
constexpr std::string_view kInside = "##";

// Twice the largest of a BERT known, LaBSE's, which has 501,153 pieces in 9 MB.
constexpr size_t kMostJsonBytes = size_t{20} << 20;
constexpr size_t kMostPieces = size_t{1} << 20;
constexpr size_t kMostDepth = 64;

/// What tokenizer.json says, as far as a BERT is concerned; read as it goes by, since as a whole it
/// would take many times its size.
class TokenizerJson : public json::json_sax_t {
 public:
  explicit TokenizerJson(const fs::path& path) : where_(path.string()) {
    const MappedFile file(path);
    const std::string_view text = file.text();
    if (text.size() > kMostJsonBytes) fail("has more than 20 MB, which no tokenizer of a BERT has");
    json::sax_parse(text.begin(), text.end(), this);
  }

  /// The pieces, each with the end of its line.
  std::string text() {
    // The first releases named no kind.
    if (kind_ != "WordPiece" && !(kind_.empty() && prefix_ == kInside)) {
      fail("holds a tokenizer of the kind " + (kind_.empty() ? "unknown" : kind_) +
           ", where a BERT has WordPiece");
    }
    if (prefix_.value_or(std::string(kInside)) != kInside) {
      fail("marks pieces inside a word by " + *prefix_ + ", a BERT's by ##");
    }
    std::sort(pieces_.begin(), pieces_.end(),
              [](const Piece& a, const Piece& b) { return a.id < b.id; });
    std::string text;
    text.reserve(letters_.size() + pieces_.size());
    for (size_t i = 0; i < pieces_.size(); ++i) {
      const Piece& piece = pieces_[i];
      if (piece.id != i) {
        fail("its model.vocab has no piece of the id " + std::to_string(i) +
             ", or two of one before");
      }
      text.append(letters_, piece.begin, piece.length) += '\n';
    }
    return text;
  }

  std::optional<bool> lower_case() const { return lower_case_; }

  bool key(std::string& name) override {
    place_.back() = name;
    return true;
  }
  bool string(std::string& value) override {
    if (is_at("model", "type")) kind_ = value;
    if (is_at("model", "continuing_subword_prefix")) prefix_ = value;
    return no_id();
  }
  bool boolean(bool value) override {
    if (is_at("normalizer", "lowercase")) lower_case_ = value;
    return no_id();
  }
  bool number_unsigned(uint64_t value) override {
    if (is_piece()) {
      add_piece(value);
    }
    return true;
  }
  bool number_integer(int64_t) override { return no_id(); }
  bool number_float(double, const std::string&) override { return no_id(); }
  bool null() override { return no_id(); }
  bool binary(json::binary_t&) override { return no_id(); }
  bool start_object(size_t) override { return go_in(); }
  bool start_array(size_t) override { return go_in(); }
  bool end_object() override { return go_out(); }
  bool end_array() override { return go_out(); }

  bool parse_error(size_t byte, const std::string&,
                   const nlohmann::detail::exception& error) override {
    fail("is not JSON from byte " + std::to_string(byte) + " on (" + error.what() + ")");
  }

 private:
  struct Piece {
    uint32_t id, begin, length;  // in letters_
  };

  bool is_at(std::string_view outer, std::string_view inner) const {
    return place_.size() == 2 && place_[0] == outer && place_[1] == inner;
  }
  bool is_piece() const {
    return place_.size() == 3 && place_[0] == "model" && place_[1] == "vocab" && !place_[2].empty();
  }

  bool go_in() {
    no_id();
    if (place_.size() == kMostDepth) fail("has lists and objects more than 64 deep in one another");
    place_.emplace_back();
    return true;
  }
  bool go_out() {
    place_.pop_back();
    return true;
  }

  bool no_id() const {
    if (is_piece()) {
      fail("in its model.vocab \"" + place_.back() + "\" has no whole number as its id");
    }
    return true;
  }

  /// Lines of a vocab.txt are trimmed.
  void add_piece(uint64_t id) {
    constexpr std::string_view kBlanks = " \t\r\n";
    const std::string& piece = place_.back();
    if (piece.find('\n') != std::string::npos || kBlanks.find(piece.front()) != kBlanks.npos ||
        kBlanks.find(piece.back()) != kBlanks.npos) {
      fail("in its model.vocab \"" + piece + "\" has a blank at an end or a line feed in it");
    }
    if (id >= kMostPieces) fail("has an id above " + std::to_string(kMostPieces - 1));
    if (pieces_.size() == kMostPieces) fail("has more than a million pieces, which no BERT has");
    pieces_.push_back({static_cast<uint32_t>(id), static_cast<uint32_t>(letters_.size()),
                       static_cast<uint32_t>(piece.size())});
    letters_ += piece;
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::bad_input,
                where_ + ": " + what + "; put the vocab.txt of the model beside it.");
  }

  std::string where_;
  std::vector<std::string> place_;  // the key in each object around, "" in a list
  std::string letters_;
  std::vector<Piece> pieces_;
  std::string kind_;
  std::optional<std::string> prefix_;
  std::optional<bool> lower_case_;
};

}  // namespace

fs::path find_vocabulary(const fs::path& folder) {
  return !is_there(folder / kText) && is_there(folder / kJson) ? folder / kJson : folder / kText;
}

std::string read_vocabulary(const fs::path& path) {
  if (path.extension() == ".json") return TokenizerJson(path).text();
  return std::string(MappedFile(path).text());
}

std::optional<bool> normalizer_lower_case(const fs::path& folder) {
  return is_there(folder / kJson) ? TokenizerJson(folder / kJson).lower_case() : std::nullopt;
}

}  // namespace bertrand
