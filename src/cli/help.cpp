#include "help.h"

#include <algorithm>
#include <sstream>

#include <fmt/format.h>

namespace bertrand::cli {
namespace {

/// Two less than a terminal has: the library indents what belongs to a group of options.
constexpr size_t kColumns = 78;
constexpr size_t kTextColumn = 28;

/// The words of a text in lines that end before kColumns; all but the first begin at `indent`,
/// the first one at `column`.
std::string wrapped(const std::string& text, size_t column, size_t indent) {
  std::string lines;
  std::istringstream words(text);
  bool first = true;
  for (std::string word; words >> word;) {
    if (!first && column + 1 + word.size() > kColumns) {
      lines += fmt::format("\n{:{}}", "", indent);
      column = indent;
    } else if (!first) {
      lines += ' ';
      ++column;
    }
    lines += word;
    column += word.size();
    first = false;
  }
  return lines;
}

/// `left` and, beside it or below where it is too long, `text`.
std::string row(const std::string& left, const std::string& text) {
  if (text.empty()) return fmt::format("  {}\n", left);
  const std::string lines = wrapped(text, kTextColumn, kTextColumn);
  return left.size() + 4 > kTextColumn
             ? fmt::format("  {}\n{:{}}{}\n", left, "", kTextColumn, lines)
             : fmt::format("  {:{}}{}\n", left, kTextColumn - 2, lines);
}

/// "NUMBER"; the library appends what checks a value has, behind a colon. A colon in brackets is of
/// the kind itself: "mlu[:N]".
std::string kind_of_value(const CLI::Option& option) {
  if (option.get_type_size() == 0) return {};  // a flag
  const std::string name = option.get_type_name();
  int open = 0;
  const auto end = std::find_if(name.begin(), name.end(), [&open](char character) {
    open += character == '[' ? 1 : character == ']' ? -1 : 0;
    return open == 0 && character == ':';
  });
  return {name.begin(), end};
}

}  // namespace

std::string HelpFormatter::make_description(const CLI::App* app) const {
  const std::string text = app->get_description();
  return text.empty() ? text : wrapped(text, 0, 0) + "\n";
}

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  std::string left = make_option_name(option, is_positional);
  const std::string kind = kind_of_value(*option);
  if (!kind.empty()) left += " " + kind;
  std::string text = option->get_description();
  if (option->get_required()) text += " (required)";
  if (!option->get_default_str().empty()) text += fmt::format(" [{}]", option->get_default_str());
  return row(left, text);
}

std::string HelpFormatter::make_subcommand(const CLI::App* command) const {
  return row(command->get_name(), command->get_description());
}

}  // namespace bertrand::cli
