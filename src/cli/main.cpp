#include <csignal>
#include <cstdio>
#include <exception>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/log.h"
#include "commands.h"
#include "common.h"
#include "help.h"

namespace {

/// Files are read where they are mapped: one that another program makes shorter meanwhile is found
/// out by a signal, in which only such calls are allowed. What was being written is left behind.
void tell_lost_file(int number, siginfo_t* info, void*) {
  constexpr std::string_view kSentence =
      "bertrand: A file that was being read has become shorter, or its disk failed. Run this again "
      "when nothing writes to the file; what is named .partial- may be removed.\n";
  if (info->si_code == BUS_ADRERR) {
    const bool told = ::write(STDERR_FILENO, kSentence.data(), kSentence.size()) > 0;
    ::_exit(told ? 1 : 128 + number);
  }
  std::signal(number, SIG_DFL);
  std::raise(number);
}

void catch_lost_files() {
  struct sigaction telling {};
  telling.sa_sigaction = tell_lost_file;
  telling.sa_flags = SA_SIGINFO | SA_NODEFER;
  ::sigaction(SIGBUS, &telling, nullptr);
}

/// Empty where the first word that nothing took is a flag, or there is none.
std::string unknown_command(const CLI::App& app) {
  const std::vector<std::string> left = app.remaining();
  if (left.empty() || left.front().starts_with("-")) return {};
  std::vector<std::string> commands;
  for (const CLI::App* command : app.get_subcommands({})) commands.push_back(command->get_name());
  return "bertrand has no command " + left.front() + "; the nearest is " +
         bertrand::cli::nearest_name(left.front(), commands) + ". bertrand --help tells them all.";
}

/// --help and --version are results, too.
int parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    std::ostringstream out, err;
    const int status = app.exit(error, out, err);
    const std::string unknown = status == 0 ? "" : unknown_command(app);
    std::fputs((unknown.empty() ? err.str() : unknown + "\n").c_str(), stderr);
    bertrand::cli::print_result(out.str());
    return status == 0 ? 0 : 2;
  }
}

int run(int argc, char** argv) {
  using namespace bertrand;
  // A file that grows beyond the limit of its size is a failed write like any other.
  std::signal(SIGXFSZ, SIG_IGN);
  catch_lost_files();
  CLI::App app("BERT question answering: fine-tune, evaluate, ask.", "bertrand");
  app.set_version_flag("--version", "bertrand " BERTRAND_VERSION);
  app.formatter(std::make_shared<cli::HelpFormatter>());
  app.require_subcommand(1);
  bool quiet = false;
  const auto add_quiet = [&quiet](CLI::App& where) {
    where.add_flag("--quiet", quiet, "Only warnings and errors on standard error");
  };
  add_quiet(app);
  app.parse_complete_callback([&] { set_up_logging(quiet); });
  cli::add_tokenize(app);
  cli::add_windows(app);
  cli::add_train(app);
  cli::add_launch(app);
  cli::add_predict(app);
  cli::add_evaluate(app);
  cli::add_ask(app);
  cli::add_bench(app);
  cli::add_convert(app);
  cli::add_quantize(app);
  cli::add_inspect(app);
  cli::add_run_squad(app);
  for (CLI::App* command : app.get_subcommands({})) add_quiet(*command);
  return parse(app, argc, argv);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const bertrand::Error& error) {
    if (*error.what() != '\0') std::fprintf(stderr, "bertrand: %s\n", error.what());
    return error.exit_code();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bertrand: %s\n", error.what());
    return 1;
  }
}
