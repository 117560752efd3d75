#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace bertrand {

/// Behind a list of some tensors of a file.
inline constexpr const char* kInspectNamesAll = " (bertrand inspect names all)";

/// Sentences, or the like, about what was found in a file. A small file can give cause for very
/// many, so only the first `most` are kept, and the others counted.
class Findings {
 public:
  explicit Findings(size_t most = 1000) : most_(most) {}

  void add(std::string what) {
    if (++count_ <= most_) kept_.push_back(std::move(what));
  }

  /// How many there are, kept or not.
  size_t count() const { return count_; }

  /// Those kept; the last says how many more there are.
  std::vector<std::string> lines() const {
    std::vector<std::string> all = kept_;
    if (left_out_some()) all.push_back(more());
    return all;
  }

  /// The same in one line: "a, b and 4 more". Where some are not named, `where_all` follows.
  std::string list(const char* where_all = "") const {
    std::string text;
    const char* before = "";
    for (const std::string& what : kept_) text += std::exchange(before, ", ") + what;
    return left_out_some() ? text + " " + more() + where_all : text;
  }

 private:
  bool left_out_some() const { return count_ > most_; }
  std::string more() const { return "and " + std::to_string(count_ - most_) + " more"; }

  size_t most_;
  std::vector<std::string> kept_;
  size_t count_ = 0;
};

}  // namespace bertrand
