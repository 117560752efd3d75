#include "distributed/launch.h"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "commands.h"

namespace bertrand::cli {
namespace {

constexpr unsigned kMost = 65536;

void start(const LaunchOptions& options) {
  const LaunchEnd end = launch(options);
  if (!end.sentence.empty()) {
    std::fprintf(stderr, "bertrand launch: %s\n", end.sentence.c_str());
  }
  if (end.exit_code != 0) {
    std::exit(end.exit_code);
  }
}

/// torchrun's names, with its two spellings of each.
void add_flags(CLI::App& command, LaunchOptions& options) {
  command
      .add_option("--nproc,--nproc-per-node,--nproc_per_node", options.processes,
                  "Processes to start on this machine")
      ->required()
      ->check(CLI::Range(1u, kMost))
      ->type_name("NUMBER");
  command
      .add_option("--nnodes", options.machines, "Machines of the run, with as many processes each")
      ->check(CLI::Range(1u, kMost))
      ->type_name("NUMBER")
      ->capture_default_str();
  command
      .add_option("--node-rank,--node_rank", options.machine,
                  "Which of the machines this is, from 0 on")
      ->check(CLI::Range(0u, kMost))
      ->type_name("NUMBER")
      ->capture_default_str();
  command
      .add_option("--master-addr,--master_addr", options.master_address,
                  "Name or address of machine 0; needed with --nnodes [127.0.0.1]")
      ->type_name("HOST");
  command
      .add_option("--master-port,--master_port", options.master_port,
                  "Port on machine 0 where the processes meet [one that is free]")
      ->check(CLI::Range(1, 65535))
      ->type_name("NUMBER");
  command
      .add_option("--join-timeout,--join_timeout", options.join_timeout,
                  "Seconds the processes wait for each other at their start [1800]")
      ->check(CLI::Range(1u, 1000000u))
      ->type_name("NUMBER");
  command.add_flag("--tag", options.tag,
                   "Put the rank before each line that a process writes to standard error");
}

}  // namespace

void add_launch(CLI::App& app) {
  CLI::App& command =
      *app.add_subcommand("launch", "Run a command in several processes that work together");
  const auto options = std::make_shared<LaunchOptions>();
  const auto words = std::make_shared<std::vector<std::string>>();
  add_flags(command, *options);
  command.add_option("command", *words, "The command and its flags; -- may stand before it")
      ->required()
      ->type_name("");
  command.positionals_at_end();  // flags behind the command's name are its own, as with torchrun
  command.callback([options, words] {
    options->program = "/proc/self/exe";
    options->arguments = {"bertrand"};
    options->arguments.insert(options->arguments.end(), words->begin(), words->end());
    start(*options);
  });
}

}  // namespace bertrand::cli
