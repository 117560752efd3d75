#include "reference_log.h"

#include <cerrno>
#include <cstring>
#include <ctime>
#include <system_error>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "common.h"

namespace bertrand::cli {
namespace {

namespace fs = std::filesystem;
using Json = ReferenceLog::Json;

/// As Python prints it.
std::string text_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
  if (value.is_number_float()) return fmt::format("{}", value.get<double>());
  return value.dump();
}

/// A point in time as the reference's log has it: seconds since 1970, and the local date.
struct Stamp {
  explicit Stamp(std::chrono::system_clock::time_point time) {
    using std::chrono::duration_cast;
    using std::chrono::microseconds;
    const int64_t all = duration_cast<microseconds>(time.time_since_epoch()).count();
    const int64_t fraction = all % 1'000'000;
    const std::time_t whole = std::chrono::system_clock::to_time_t(time);
    const std::tm local = fmt::localtime(whole);
    seconds = fmt::format("{}.{:06}", all / 1'000'000, fraction);
    date = fmt::format("{:%Y-%m-%d %H:%M:%S}.{:06}", local, fraction);
    zone = fmt::format("{:%z}", local);
    zone.insert(3, ":");  // +0100 as +01:00
  }

  std::string seconds, date, zone;
};

}  // namespace

ReferenceLog::ReferenceLog(fs::path path, bool append, bool print_steps)
    : path_(std::move(path)), print_steps_(print_steps) {
  std::error_code failed;
  if (path_.has_parent_path()) fs::create_directories(path_.parent_path(), failed);
  file_ = std::fopen(path_.c_str(), append ? "abe" : "wbe");
  if (file_ == nullptr) {
    throw Error(ErrorCode::io, fmt::format("--json-summary {}: cannot be opened ({}).",
                                           path_.string(), std::strerror(errno)));
  }
}

ReferenceLog::~ReferenceLog() { std::fclose(file_); }

void ReferenceLog::parameter(const std::string& name, Json value) {
  log("PARAMETER", {{name, std::move(value)}}, "PARAMETER", /*print=*/true);
}

void ReferenceLog::step(uint64_t epoch, uint64_t step, const Json& data) {
  log(Json::array({epoch, step}), data,
      fmt::format("Training Epoch: {} Training Iteration: {} ", epoch, step), print_steps_);
}

void ReferenceLog::result(const Json& data) { log(Json::array(), data, "", /*print=*/true); }

void ReferenceLog::finish() {
  if (failure_) throw Error(*failure_);
}

void ReferenceLog::attempt(const std::function<void()>& write) {
  try {
    write();
  } catch (const Error& error) {
    if (!working_) throw;
    if (!failure_) {
      spdlog::warn("{} The run goes on without what is told there.", error.what());
      failure_ = error;
    }
  }
}

void ReferenceLog::log(const Json& step, const Json& data, const std::string& step_text,
                       bool print) {
  const auto now = std::chrono::system_clock::now();
  const Stamp stamp(now);
  const Json line = {
      {"timestamp", stamp.seconds},
      {"datetime", stamp.date + stamp.zone},
      {"elapsedtime", fmt::format("{}", std::chrono::duration<double>(now - begun_).count())},
      {"type", "LOG"},
      {"step", step},
      {"data", data}};
  const std::string text = "DLLL " + line.dump() + "\n";
  attempt([&] {
    if (std::fputs(text.c_str(), file_) < 0 || std::fflush(file_) != 0) {
      throw Error(ErrorCode::io,
                  fmt::format("{}: cannot be written ({}).", path_.string(), std::strerror(errno)));
    }
  });
  if (!print) return;
  std::string shown = fmt::format("DLL {} - {}", stamp.date, step_text);
  for (const auto& [name, value] : data.items()) {
    shown += fmt::format(" {} : {} ", name, text_of(value));
  }
  attempt([&] { print_result(shown + "\n"); });
}

}  // namespace bertrand::cli
