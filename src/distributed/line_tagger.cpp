#include "distributed/line_tagger.h"

#include <cerrno>
#include <unistd.h>
#include <utility>

namespace bertrand {
namespace {

/// What cannot be written is lost: a run goes on where nobody reads.
void write_all(std::string_view text, int out) {
  while (!text.empty()) {
    const ssize_t written = ::write(out, text.data(), text.size());
    if (written < 0 && errno != EINTR) {
      return;
    }
    text.remove_prefix(static_cast<size_t>(written < 0 ? 0 : written));
  }
}

}  // namespace

LineTagger::LineTagger(std::string tag) : tag_(std::move(tag)) {}

void LineTagger::add(std::string_view text, int out) {
  std::string lines;
  for (const char letter : text) {
    if (letter != '\n' && letter != '\r') {
      begun_ += letter;
    } else if (!begun_.empty() || letter == '\n') {
      lines += tag_ + std::exchange(begun_, {}) + '\n';
    }
  }
  write_all(lines, out);
}

void LineTagger::finish(int out) {
  if (!begun_.empty()) {
    add("\n", out);
  }
}

}  // namespace bertrand
