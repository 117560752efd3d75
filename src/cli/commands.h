#pragma once

#include <CLI/CLI.hpp>

namespace bertrand::cli {

/// Each adds one subcommand with its flags; the subcommand's callback does the work and throws
/// Error.
void add_tokenize(CLI::App& app);
void add_windows(CLI::App& app);
void add_train(CLI::App& app);
void add_launch(CLI::App& app);
void add_predict(CLI::App& app);
void add_evaluate(CLI::App& app);
void add_ask(CLI::App& app);
void add_bench(CLI::App& app);
void add_convert(CLI::App& app);
void add_quantize(CLI::App& app);
void add_inspect(CLI::App& app);
void add_run_squad(CLI::App& app);

}  // namespace bertrand::cli
