#pragma once

#include <string>
#include <string_view>

namespace bertrand {

/// Text of one of several writers: each of its lines goes out whole, behind a tag. What ends in a
/// carriage return (a bar drawn in place) counts as a line.
class LineTagger {
 public:
  explicit LineTagger(std::string tag);

  /// Writes the lines that are complete with `text` to the descriptor `out`.
  void add(std::string_view text, int out);

  /// Writes what is left as a line.
  void finish(int out);

 private:
  std::string tag_;
  std::string begun_;  // of the line that has no end yet
};

}  // namespace bertrand
