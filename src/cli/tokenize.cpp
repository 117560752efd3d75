#include "base/error.h"
#include "commands.h"

namespace bertrand::cli {

void add_tokenize(CLI::App& app) {
  app.add_subcommand("tokenize", "")->callback([] {
    throw Error(ErrorCode::runtime, "not there yet");
  });
}

}  // namespace bertrand::cli
