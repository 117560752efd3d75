#include "base/error.h"
#include "commands.h"

namespace bertrand::cli {

void add_evaluate(CLI::App& app) {
  app.add_subcommand("evaluate", "")->callback([] {
    throw Error(ErrorCode::runtime, "not there yet");
  });
}

}  // namespace bertrand::cli
