#include "base/error.h"
#include "commands.h"

namespace bertrand::cli {

void add_ask(CLI::App& app) {
  app.add_subcommand("ask", "")->callback([] { throw Error(ErrorCode::runtime, "not there yet"); });
}

}  // namespace bertrand::cli
