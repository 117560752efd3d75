#include "train/run_log.h"

#include <cerrno>
#include <cstring>
#include <sstream>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"

namespace bertrand {
namespace {

using Json = nlohmann::ordered_json;

std::string lines_up_to(const std::filesystem::path& path, uint64_t steps) {
  std::string kept;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (json.is_object() && json.contains("step") && json["step"].is_number_unsigned() &&
        json["step"].get<uint64_t>() <= steps) {
      kept += line + "\n";
    }
  }
  return kept;
}

}  // namespace

RunLog::RunLog(std::filesystem::path path, uint64_t steps) : path_(std::move(path)) {
  const bool goes_on = steps > 0 && std::filesystem::exists(path_);
  write_file(path_, goes_on ? lines_up_to(path_, steps) : "");
  file_ = std::fopen(path_.c_str(), "abe");
  if (file_ == nullptr) {
    throw Error(ErrorCode::io,
                path_.string() + ": cannot be opened (" + std::strerror(errno) + ").");
  }
}

RunLog::~RunLog() { std::fclose(file_); }

void RunLog::steps(const Span& span) {
  const double seconds = span.seconds > 0 ? span.seconds : 1e-9;
  line(Json{{"event", "step"},
            {"step", span.last.step},
            {"epoch", span.epoch},
            {"loss", span.loss},
            {"learning_rate", span.last.learning_rate},
            {"gradient_norm", span.last.gradient_norm},
            {"windows", span.windows},
            {"tokens", span.tokens},
            {"windows_per_second", static_cast<double>(span.windows) / seconds},
            {"tokens_per_second", static_cast<double>(span.tokens) / seconds},
            {"elapsed", span.elapsed}}
           .dump());
}

void RunLog::event(const char* name, uint64_t step, double elapsed) {
  line(Json{{"event", name}, {"step", step}, {"elapsed", elapsed}}.dump());
}

void RunLog::line(const std::string& text) {
  if (std::fputs((text + "\n").c_str(), file_) < 0 || std::fflush(file_) != 0) {
    throw Error(ErrorCode::io,
                path_.string() + ": cannot be written (" + std::strerror(errno) + ").");
  }
}

}  // namespace bertrand
