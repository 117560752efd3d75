#include <cstdio>
#include <exception>

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/log.h"
#include "commands.h"

int main(int argc, char** argv) {
  using namespace bertrand;
  CLI::App app("BERT question answering: fine-tune, evaluate, ask.", "bertrand");
  app.set_version_flag("--version", "bertrand " BERTRAND_VERSION);
  app.require_subcommand(1);
  bool quiet = false;
  app.add_flag("--quiet", quiet, "Only warnings and errors on standard error");
  app.parse_complete_callback([&] { set_up_logging(quiet); });
  cli::add_tokenize(app);
  cli::add_windows(app);
  cli::add_train(app);
  cli::add_predict(app);
  cli::add_evaluate(app);
  cli::add_ask(app);
  cli::add_bench(app);
  cli::add_convert(app);
  cli::add_inspect(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const Error& error) {
    std::fprintf(stderr, "bertrand: %s\n", error.what());
    return error.exit_code();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bertrand: %s\n", error.what());
    return 1;
  }
  return 0;
}
