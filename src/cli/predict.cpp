#include "base/error.h"
#include "commands.h"

namespace bertrand::cli {

void add_predict(CLI::App& app) {
  app.add_subcommand("predict", "")->callback([] {
    throw Error(ErrorCode::runtime, "not there yet");
  });
}

}  // namespace bertrand::cli
