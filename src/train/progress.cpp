#include "train/progress.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <sys/ioctl.h>

#include <fmt/format.h>

namespace bertrand {
namespace {

constexpr double kBarSeconds = 0.2;
constexpr double kLineSeconds = 30;

double part_done(const ProgressState& state) {
  return state.all == 0 ? 1.0 : static_cast<double>(state.done) / static_cast<double>(state.all);
}

/// A run goes on where nobody can see how far it is: what cannot be written is lost.
void write(std::FILE* out, const std::string& text) {
  std::fputs(text.c_str(), out);
  std::fflush(out);
}

}  // namespace

std::string time_text(double seconds) {
  const auto whole = static_cast<uint64_t>(std::clamp(std::round(seconds), 0.0, 1e9));
  const uint64_t hours = whole / 3600, minutes = whole / 60 % 60;
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, minutes, whole % 60)
                   : fmt::format("{}:{:02}", minutes, whole % 60);
}

std::string progress_bar(const ProgressState& state, size_t columns) {
  const double percent = std::floor(100 * part_done(state));
  const std::string left = time_text(state.seconds_left);
  const std::string after = fmt::format(
      " {:3.0f}% {}/{} loss {:.3f} rate {:.2g} {:.1f} windows/s left {}", percent, state.done,
      state.all, state.loss, state.learning_rate, state.windows_per_second, left);
  if (after.size() > columns) {
    return longest_that_fits(
        std::array{fmt::format("{:.0f}% {}/{} loss {:.3f} left {}", percent, state.done, state.all,
                               state.loss, left),
                   fmt::format("{:.0f}% left {}", percent, left), fmt::format("{:.0f}%", percent)},
        columns);
  }
  const size_t width = after.size() + 2 < columns ? columns - after.size() - 2 : 0;
  const auto full = static_cast<size_t>(part_done(state) * static_cast<double>(width));
  const std::string bar =
      width == 0 ? "" : fmt::format("[{:#<{}}{:.<{}}]", "", full, "", width - full);
  return bar + after;
}

std::string longest_that_fits(std::span<const std::string> texts, size_t columns) {
  for (const std::string& text : texts) {
    if (text.size() <= columns) return text;
  }
  return {};
}

size_t terminal_columns(std::FILE* terminal) {
  constexpr size_t kUsual = 80;
  winsize size{};
  const bool told = ::ioctl(::fileno(terminal), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return told ? size.ws_col : kUsual;
}

std::string progress_line(const ProgressState& state) {
  return fmt::format("step {} of {}, loss {:.4f}, rate {:.3g}, {:.1f} windows/s, {} left",
                     state.done, state.all, state.loss, state.learning_rate,
                     state.windows_per_second, time_text(state.seconds_left));
}

void Progress::show(const ProgressState& state, double now) {
  const double wait = terminal_ ? kBarSeconds : kLineSeconds;
  const bool last = state.done == state.all;
  if (out_ == nullptr || (!first_ && !last && now - shown_at_ < wait)) {
    return;
  }
  first_ = false;
  shown_at_ = now;
  if (terminal_) {
    write(out_, kClearLine + progress_bar(state, terminal_columns(out_) - 1));
    drawn_ = true;
  } else {
    write(out_, progress_line(state) + "\n");
  }
}

void Progress::clear() {
  if (drawn_) {
    write(out_, kClearLine);
    drawn_ = false;
  }
}

}  // namespace bertrand
