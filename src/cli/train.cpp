#include "base/error.h"
#include "commands.h"

namespace bertrand::cli {

void add_train(CLI::App& app) {
  app.add_subcommand("train", "")->callback([] {
    throw Error(ErrorCode::runtime, "not there yet");
  });
}

}  // namespace bertrand::cli
