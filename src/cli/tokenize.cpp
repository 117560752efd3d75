#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "base/files.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/vocabulary_file.h"
#include "commands.h"
#include "common.h"
#include "predict/model_tokenizer.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace bertrand::cli {
namespace {

struct Flags {
  std::filesystem::path vocabulary;
  std::filesystem::path model;
  std::filesystem::path file;
  std::vector<std::string> texts;
  std::optional<bool> lower_case;
  bool reference = false;
  bool ids = false;
  bool json = false;
};

bool choose_lower_case(const Flags& flags, const std::filesystem::path& folder) {
  if (flags.lower_case) return *flags.lower_case;
  if (const std::optional<bool> configured = configured_lower_case(folder)) return *configured;
  spdlog::info(
      "No tokenizer_config.json beside the vocabulary says do_lower_case: taken as uncased; "
      "--cased keeps case and accents.");
  return true;
}

Tokenizer make_tokenizer(const Flags& flags) {
  const bool given = !flags.vocabulary.empty();
  const std::filesystem::path folder =
      given ? flags.vocabulary.parent_path() : find_model(flags.model);
  auto vocabulary =
      given ? open_vocabulary(flags.vocabulary) : load_vocabulary(find_vocabulary(folder));
  const auto behaviour = flags.reference ? TokenizerOptions::Behaviour::reference
                                         : TokenizerOptions::Behaviour::hugging_face;
  return Tokenizer(std::move(vocabulary),
                   {.lower_case = choose_lower_case(flags, folder), .behaviour = behaviour});
}

/// Counts the code points before a byte of a text; asked for rising bytes.
class CodePointCounter {
 public:
  explicit CodePointCounter(std::string_view text) : text_(text) {}

  uint32_t before(uint32_t byte) {
    for (; at_ < byte; ++count_) at_ += decode_utf8(text_, at_).length;
    return count_;
  }

 private:
  std::string_view text_;
  size_t at_ = 0;
  uint32_t count_ = 0;
};

std::string as_json(const Vocabulary& vocabulary, std::string_view text,
                    const std::vector<Token>& tokens) {
  nlohmann::ordered_json line = {{"tokens", nlohmann::json::array()},
                                 {"ids", nlohmann::json::array()},
                                 {"offsets", nlohmann::json::array()}};
  CodePointCounter begins(text);
  CodePointCounter ends(text);
  for (const Token& token : tokens) {
    line["tokens"].push_back(vocabulary.piece(token.id));
    line["ids"].push_back(token.id);
    line["offsets"].push_back({begins.before(token.begin), ends.before(token.end)});
  }
  return line.dump();
}

std::string as_words(const Vocabulary& vocabulary, const std::vector<Token>& tokens, bool ids) {
  std::string line;
  for (const Token& token : tokens) {
    if (!line.empty()) line += ' ';
    if (ids) {
      line += std::to_string(token.id);
    } else {
      line += vocabulary.piece(token.id);
    }
  }
  return line;
}

void run(const Flags& flags) {
  const Tokenizer tokenizer = make_tokenizer(flags);
  const Vocabulary& vocabulary = tokenizer.vocabulary();
  std::vector<Token> tokens;
  const auto print = [&](std::string_view text) {
    tokens.clear();
    tokenizer.tokenize(text, tokens);
    print_result(
        (flags.json ? as_json(vocabulary, text, tokens) : as_words(vocabulary, tokens, flags.ids)) +
        "\n");
  };
  if (!flags.texts.empty()) {
    for (const std::string& text : flags.texts) print(text);
  } else if (!flags.file.empty() && flags.file != "-") {
    const std::string text = read_input(flags.file);
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      print(std::string_view(text).substr(begin, end - begin));
      begin = end + 1;
    }
  } else {
    std::string line;
    while (read_line(line)) print(line);
  }
}

}  // namespace

void add_tokenize(CLI::App& app) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "tokenize", "Print the word pieces of texts: of the arguments, else of each line of a file");
  command->add_option("text", flags->texts, "Texts, each of which gives a line")
      ->type_name("TEXT...");
  command->add_option("--file", flags->file, "File with a text a line [-: standard input]")
      ->type_name("FILE")
      ->excludes("text");
  auto* vocabulary = command->add_option("--vocab", flags->vocabulary, "Vocabulary, a piece a line")
                         ->type_name("FILE");
  command
      ->add_option(
          "--model", flags->model,
          "Model folder whose vocab.txt to use [$BERTRAND_MODEL, else the model that comes "
          "with the program]")
      ->type_name("FOLDER")
      ->excludes(vocabulary);
  add_case_flags(*command, flags->lower_case);
  command->add_flag("--reference", flags->reference,
                    "Split as the reference system does, not as Hugging Face's BertTokenizer");
  auto* ids = command->add_flag("--ids", flags->ids, "Print numbers instead of pieces");
  command
      ->add_flag("--json", flags->json,
                 "Print a JSON object a text: tokens, ids, and offsets in characters [begin, end)")
      ->excludes(ids);
  command->callback([flags] { run(*flags); });
}

}  // namespace bertrand::cli
