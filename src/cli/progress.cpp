#include "progress.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "train/progress.h"

namespace bertrand::cli {
namespace {

constexpr std::chrono::milliseconds kBetweenDrawings{200};
constexpr std::chrono::seconds kBetweenLines{30};

/// 10833 as 10,833.
std::string grouped(size_t number) {
  std::string digits = std::to_string(number);
  for (size_t place = digits.size(); place > 3; place -= 3) digits.insert(place - 3, 1, ',');
  return digits;
}

/// `text`, or less of it where the terminal is narrow.
std::string fitting(const std::string& text, size_t done, size_t all, size_t columns) {
  return longest_that_fits(std::array{text, fmt::format("{} of {}", grouped(done), grouped(all)),
                                      fmt::format("{}%", 100 * done / std::max<size_t>(all, 1))},
                           columns);
}

}  // namespace

std::string count_text(const std::string& what, size_t done, size_t all, double seconds) {
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  std::string text = fmt::format("{} of {} {}", grouped(done), grouped(all), what);
  if (rate > 0) {
    const double left = static_cast<double>(all - done) / rate;
    text += fmt::format(", {:.{}f} a second, {} left", rate, rate < 10 ? 1 : 0, time_text(left));
  }
  return text;
}

CountProgress::CountProgress(std::string what)
    : what_(std::move(what)),
      wanted_(spdlog::should_log(spdlog::level::info)),
      terminal_(::isatty(STDERR_FILENO) != 0) {}

CountProgress::~CountProgress() { clear(); }

void CountProgress::clear() {
  if (drawn_) std::fputs(kClearLine, stderr);
  drawn_ = false;
}

void CountProgress::show(size_t done, size_t all) {
  const Clock::time_point now = Clock::now();
  const bool due = terminal_ ? now - shown_ >= kBetweenDrawings : now - shown_ >= kBetweenLines;
  if (!wanted_ || !due) return;
  shown_ = now;
  const std::string text =
      count_text(what_, done, all, std::chrono::duration<double>(now - begun_).count());
  if (terminal_) {
    drawn_ = true;
    std::fprintf(stderr, "%s%s", kClearLine,
                 fitting(text, done, all, terminal_columns(stderr) - 1).c_str());
    std::fflush(stderr);
  } else {
    spdlog::info("{}", text);
  }
}

}  // namespace bertrand::cli
