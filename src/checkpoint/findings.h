#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace bertrand {

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

  /// The same in one line: "a, b and 4 more".
  std::string list() const {
    std::string text;
    const char* before = "";
    for (const std::string& what : kept_) text += std::exchange(before, ", ") + what;
    return left_out_some() ? text + " " + more() : text;
  }

  /// Whether some were only counted.
  bool left_out_some() const { return count_ > most_; }

 private:
  std::string more() const { return "and " + std::to_string(count_ - most_) + " more"; }

  size_t most_;
  std::vector<std::string> kept_;
  size_t count_ = 0;
};

}  // namespace bertrand
