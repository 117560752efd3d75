#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace bertrand::cli {

/// The texts of --help: at most 80 columns, an option's name and kind of value on the left, what it
/// does on the right, its default in brackets.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_description(const CLI::App* app) const override;
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_subcommand(const CLI::App* command) const override;
};

}  // namespace bertrand::cli
