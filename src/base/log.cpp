#include "base/log.h"

#include <unistd.h>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace bertrand {

void set_up_logging(bool quiet) {
  spdlog::drop("bertrand");  // so that it may be called again
  auto logger = spdlog::stderr_color_mt("bertrand");
  logger->set_pattern(::isatty(STDERR_FILENO) != 0 ? "%^%v%$" : "%v");
  logger->set_level(quiet ? spdlog::level::warn : spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace bertrand
