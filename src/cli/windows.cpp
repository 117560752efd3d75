#include "base/error.h"
#include "commands.h"

namespace bertrand::cli {

void add_windows(CLI::App& app) {
  app.add_subcommand("windows", "")->callback([] {
    throw Error(ErrorCode::runtime, "not there yet");
  });
}

}  // namespace bertrand::cli
