#include "train/machine.h"

#include <cstring>
#include <ctime>
#include <fstream>
#include <sys/utsname.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/thread_pool.h"

namespace bertrand {
namespace {

/// The first line "model name : ..." of /proc/cpuinfo (x86); empty where there is none.
std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return {};
}

}  // namespace

Machine this_machine() {
  Machine machine;
  machine.processor = processor_name();
  machine.cpus = available_threads();
  constexpr double kGib = 1024.0 * 1024 * 1024;
  machine.memory_gib = static_cast<double>(::sysconf(_SC_PHYS_PAGES)) *
                       static_cast<double>(::sysconf(_SC_PAGESIZE)) / kGib;
  utsname names{};
  if (::uname(&names) == 0) {
    machine.system = fmt::format("{} {} {}", names.sysname, names.release, names.machine);
  }
#if defined(__clang__)
  machine.compiler = fmt::format("clang {}", __clang_version__);
#else
  machine.compiler = fmt::format("gcc {}", __VERSION__);
#endif
  return machine;
}

std::string utc_time() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

}  // namespace bertrand
