#include <algorithm>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "base/files.h"
#include "bertrand/reader.h"
#include "commands.h"
#include "common.h"
#include "progress.h"
#include "squad/dataset.h"
#include "squad/question_list.h"

namespace bertrand::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// Enough questions to compute windows of like length together, few enough that answers come soon.
constexpr size_t kAnsweredAtOnce = 256;

struct Flags {
  std::vector<std::string> questions;
  std::string context;
  fs::path context_file, questions_file;
  std::string format = "text";
  bool json = false;
  size_t top_k = 1;
  ModelFlags model;
  WindowOptions windows;
  AnswerFlags answers;
};

std::string read_standard_input(const Flags& flags) {
  if (flags.questions_file == "-") {
    throw Error(
        ErrorCode::usage,
        "Standard input holds the questions (--questions -), so it cannot be the text they "
        "are about as well; give that by --context or --context-file, or with each question "
        "in JSON.");
  }
  return read_input("-");
}

/// The text all questions are about: from --context or --context-file, "-" being standard input,
/// which is also read where neither is given and it is not a terminal.
std::string shared_context(const CLI::App& command, const Flags& flags) {
  if (command.count("--context-file") > 0 && flags.context_file != "-") {
    return read_input(flags.context_file);
  }
  if (command.count("--context") > 0 && flags.context != "-") return flags.context;
  if (command.count("--context") + command.count("--context-file") == 0 &&
      ::isatty(STDIN_FILENO) != 0) {
    throw Error(ErrorCode::usage,
                "There is no text to look for the answer in; give it by --context, --context-file "
                "or on standard input.");
  }
  return read_standard_input(flags);
}

/// {"question": ..., "context": ...}, of which context may be missing.
Question parse_question(const std::string& line, const std::string& where,
                        const std::string& context) {
  const auto fault = [&](const std::string& what) {
    return Error(ErrorCode::bad_input,
                 where + ": " + what + R"(; write {"question": "...", "context": "..."}.)");
  };
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) throw fault("is not a JSON object");
  if (!json.contains("question") || !json["question"].is_string()) {
    throw fault("has no \"question\" that is a string");
  }
  Question question{json["question"], context};
  if (json.contains("context")) {
    if (!json["context"].is_string()) throw fault("has a \"context\" that is not a string");
    question.context = json["context"];
  }
  return question;
}

std::string_view trimmed(std::string_view line) {
  constexpr std::string_view kSpaces = " \t\r";
  const size_t begin = std::min(line.find_first_not_of(kSpaces), line.size());
  const size_t end = line.find_last_not_of(kSpaces) + 1;
  return line.substr(begin, end > begin ? end - begin : 0);
}

/// Calls use(line, number) for each line that is not blank.
template <class Use>
void for_each_line(std::string_view text, const Use& use) {
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(text.substr(0, end));
    if (!line.empty()) use(std::string(line), number);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

/// Whether a questions file is one JSON list, and not a question a line.
bool is_json_list(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos || text[begin] != '[') return false;
  const size_t next = text.find_first_not_of(kSpaces, begin + 1);
  return next != std::string_view::npos && (text[next] == '{' || text[next] == '"');
}

/// Whether each line of a questions file brings its own context.
bool is_json_line(std::string_view line) { return line.front() == '{'; }

std::vector<Question> collect(const CLI::App& command, const Flags& flags) {
  std::vector<Question> questions;
  std::string context;
  bool context_known = false;
  const auto get_context = [&]() -> const std::string& {
    if (!context_known) context = shared_context(command, flags);
    context_known = true;
    return context;
  };
  const bool given = command.count("--context") + command.count("--context-file") > 0;
  for (const std::string& question : flags.questions) {
    questions.push_back({question, get_context()});
  }
  if (!flags.questions_file.empty()) {
    const std::string text = read_input(flags.questions_file);
    if (is_json_list(text)) {
      throw Error(ErrorCode::bad_input,
                  flags.questions_file.string() +
                      ": is a JSON list; write a question a line, or an object a line: "
                      R"({"question": "...", "context": "..."}.)");
    }
    for_each_line(text, [&](const std::string& line, size_t number) {
      const std::string where = fmt::format("{}, line {}", flags.questions_file.string(), number);
      if (!is_json_line(line)) {
        questions.push_back({line, get_context()});
        return;
      }
      questions.push_back(parse_question(line, where, given ? get_context() : ""));
      if (questions.back().context.empty() && !given) {
        throw Error(ErrorCode::bad_input,
                    where + ": has no \"context\", and none is given by --context.");
      }
    });
  }
  if (questions.empty()) {
    throw Error(ErrorCode::usage, flags.questions_file.empty()
                                      ? "There is no question; give it by --question."
                                      : flags.questions_file.string() + ": holds no question.");
  }
  return questions;
}

/// Where there is nothing to read, "no answer" is no finding.
void warn_of_empty_contexts(const std::vector<Question>& questions) {
  std::vector<std::string> asked;
  for (const Question& question : questions) {
    if (split_words(question.context).empty()) asked.push_back('"' + question.question + '"');
  }
  if (!asked.empty()) {
    spdlog::warn("The context of {} is empty; the answer is \"\".", question_list(asked));
  }
}

Json to_json(const FoundAnswer& answer) {
  return {{"answer", answer.text},
          {"score", answer.score},
          {"begin", answer.begin},
          {"end", answer.end}};
}

std::string json_text(const Question& question, const std::vector<FoundAnswer>& answers,
                      bool list) {
  Json json = {{"question", question.question}};
  json.update(to_json(answers.front()));
  if (list) {
    json["answers"] = Json::array();
    for (const FoundAnswer& answer : answers) json["answers"].push_back(to_json(answer));
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

/// An answer a line; below their question where there are several questions.
std::string plain_text(const Question& question, const std::vector<FoundAnswer>& answers,
                       bool several) {
  std::string text = several ? question.question + "\n" : "";
  for (const FoundAnswer& answer : answers) {
    const std::string place = answer.text.empty()
                                  ? std::string()
                                  : fmt::format(", characters {} to {}", answer.begin, answer.end);
    text += fmt::format("{}{}  (score {:.4f}{})\n", several ? "  " : "",
                        answer.text.empty() ? "[no answer]" : answer.text, answer.score, place);
  }
  return text;
}

ReaderOptions reader_options(const CLI::App& command, const Flags& flags) {
  ReaderOptions options;
  options.threads = chosen_threads(flags.model.threads);
  options.precision = name_of(flags.model.precision);
  options.engine = flags.model.engine.engine;
  options.device = flags.model.engine.device;
  options.torch_plugin = flags.model.engine.plugin;
  options.torch_library = flags.model.engine.library;
  options.lower_case = flags.model.lower_case;
  if (command.count("--max-seq-length") > 0) options.max_seq_length = flags.windows.max_seq_length;
  options.doc_stride = flags.windows.doc_stride;
  options.max_query_length = flags.windows.max_query_length;
  options.n_best = flags.answers.options.n_best;
  options.max_answer_length = flags.answers.options.max_answer_tokens;
  options.allow_no_answer = flags.answers.no_answer.value_or(false);
  options.no_answer_threshold = flags.answers.options.no_answer_threshold;
  return options;
}

void ask(const CLI::App& command, const Flags& flags) {
  const fs::path model = find_model(flags.model.path);
  const std::vector<Question> questions = collect(command, flags);
  warn_of_empty_contexts(questions);
  Reader reader(model, reader_options(command, flags));
  if (flags.model.precision == Precision::automatic) {
    spdlog::info("Precision auto: {}.", reader.precision());
  }
  const bool json = flags.json || flags.format == "json";
  CountProgress progress("questions");
  for (size_t begin = 0; begin < questions.size(); begin += kAnsweredAtOnce) {
    const auto part =
        std::span(questions).subspan(begin, std::min(kAnsweredAtOnce, questions.size() - begin));
    const auto answers = reader.ask(part, flags.top_k);
    std::string text;
    for (size_t i = 0; i < part.size(); ++i) {
      text += json ? json_text(part[i], answers[i], flags.top_k > 1)
                   : plain_text(part[i], answers[i], questions.size() > 1);
    }
    progress.clear();
    print_result(text);
    progress.show(begin + part.size(), questions.size());
  }
}

}  // namespace

void add_ask(CLI::App& app) {
  CLI::App* command = app.add_subcommand("ask", "Answer questions about a text");
  const auto flags = std::make_shared<Flags>();
  command->add_option("-q,--question", flags->questions, "The question; may be given several times")
      ->take_all()
      ->expected(1)
      ->type_name("TEXT");
  auto* context = command
                      ->add_option("-c,--context", flags->context,
                                   "The text to find the answer in [-: standard input]")
                      ->type_name("TEXT");
  command->add_option("--context-file", flags->context_file, "The same from a file")
      ->excludes(context)
      ->type_name("FILE");
  command
      ->add_option("--questions", flags->questions_file,
                   "File with a question a line, or a JSON object a line: "
                   R"({"question": "...", "context": "..."} [-: standard input])")
      ->type_name("FILE");
  command->add_option("--top-k", flags->top_k, "Answers shown of each question")
      ->check(CLI::Range(1, 1000))
      ->type_name("NUMBER")
      ->capture_default_str();
  command->add_option("--format", flags->format, "Of what is printed")
      ->check(CLI::IsMember({"text", "json"}))
      ->type_name("text|json")
      ->capture_default_str();
  command->add_flag("--json", flags->json, "--format json: an object a line for each question");
  add_model_flags(*command, flags->model);
  add_window_flags(*command, flags->windows);
  add_answer_flags(*command, flags->answers);
  command->callback([command, flags] { ask(*command, *flags); });
}

}  // namespace bertrand::cli
