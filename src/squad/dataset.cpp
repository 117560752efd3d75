#include "squad/dataset.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include <simdjson.h>

#include "base/error.h"
#include "base/files.h"
#include "squad/json_fault.h"

namespace bertrand {
namespace {

namespace dom = simdjson::dom;

/// A place in the file, spelled out only when something there is wrong: each knows the one it is
/// in.
struct Place {
  const Place* outer;
  std::string_view list;  // the name of the list in `outer`
  size_t index;

  std::string name() const {
    return (outer == nullptr ? "" : outer->name() + ".") + std::string(list) + "[" +
           std::to_string(index) + "]";
  }
};

std::string name_in(const Place* place, std::string_view field) {
  return (place == nullptr ? "" : place->name() + ".") + std::string(field);
}

template <typename T>
constexpr const char* kKind = nullptr;
template <>
constexpr const char* kKind<dom::object> = "an object";
template <>
constexpr const char* kKind<dom::array> = "a list";
template <>
constexpr const char* kKind<std::string_view> = "a string";
template <>
constexpr const char* kKind<int64_t> = "a whole number";
template <>
constexpr const char* kKind<bool> = "true or false";

/// Walks the parsed file and fills a Dataset.
class Reader {
 public:
  Reader(const std::string& where, Dataset& dataset) : where_(where), dataset_(dataset) {}

  void read(dom::element root);

 private:
  void read_article(dom::object article, const Place& place);
  void read_paragraph(dom::object paragraph, const Place& place);
  Example read_question(dom::object question, const Place& place) const;
  void check_ids() const;

  template <typename T>
  T as(dom::element value, const std::string& name) const;
  template <typename T>
  T required(dom::object object, const Place* place, std::string_view field) const;
  template <typename T>
  T optional(dom::object object, const Place* place, std::string_view field, T otherwise) const;

  /// Calls `read(object, its place)` for each element of a list of objects.
  template <typename Read>
  void for_each(dom::array list, const Place* outer, std::string_view name, const Read& read) const;

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::bad_input, where_ + ": " + what);
  }

  const std::string& where_;
  Dataset& dataset_;
};

template <typename T>
T Reader::as(dom::element value, const std::string& name) const {
  T got;
  if (value.get(got) != simdjson::SUCCESS) {
    fail(name + " is not " + kKind<T> + ", as the form of SQuAD demands.");
  }
  return got;
}

template <typename T>
T Reader::required(dom::object object, const Place* place, std::string_view field) const {
  dom::element value;
  if (object.at_key(field).get(value) != simdjson::SUCCESS) {
    fail(name_in(place, field) + " is missing; the form of SQuAD demands " + kKind<T> + " there.");
  }
  T got;
  return value.get(got) == simdjson::SUCCESS ? got : as<T>(value, name_in(place, field));
}

template <typename T>
T Reader::optional(dom::object object, const Place* place, std::string_view field,
                   T otherwise) const {
  dom::element value;
  if (object.at_key(field).get(value) != simdjson::SUCCESS) return otherwise;
  return as<T>(value, name_in(place, field));
}

template <typename Read>
void Reader::for_each(dom::array list, const Place* outer, std::string_view name,
                      const Read& read) const {
  size_t index = 0;
  for (const dom::element element : list) {
    const Place place = {outer, name, index++};
    dom::object object;
    read(element.get(object) == simdjson::SUCCESS ? object : as<dom::object>(element, place.name()),
         place);
  }
}

void Reader::read(dom::element root) {
  const auto file = as<dom::object>(root, "the file's content");
  dataset_.version = optional<std::string_view>(file, nullptr, "version", "");
  dataset_.has_impossible = dataset_.version.starts_with("v2") || dataset_.version.starts_with("2");
  for_each(required<dom::array>(file, nullptr, "data"), nullptr, "data",
           [this](dom::object article, const Place& place) { read_article(article, place); });
  check_ids();
}

void Reader::read_article(dom::object article, const Place& place) {
  dataset_.article_begins.push_back(static_cast<uint32_t>(dataset_.paragraphs.size()));
  for_each(required<dom::array>(article, &place, "paragraphs"), &place, "paragraphs",
           [this](dom::object paragraph, const Place& inner) { read_paragraph(paragraph, inner); });
}

void Reader::read_paragraph(dom::object paragraph, const Place& place) {
  dataset_.paragraphs.emplace_back(required<std::string_view>(paragraph, &place, "context"));
  for_each(required<dom::array>(paragraph, &place, "qas"), &place, "qas",
           [this](dom::object question, const Place& inner) {
             dataset_.examples.push_back(read_question(question, inner));
             dataset_.has_impossible |= dataset_.examples.back().is_impossible;
           });
}

Example Reader::read_question(dom::object question, const Place& place) const {
  Example example;
  example.id = required<std::string_view>(question, &place, "id");
  example.question = required<std::string_view>(question, &place, "question");
  example.paragraph = static_cast<uint32_t>(dataset_.paragraphs.size() - 1);
  example.is_impossible = optional<bool>(question, &place, "is_impossible", false);
  dom::element answers;
  if (question.at_key("answers").get(answers) == simdjson::SUCCESS) {
    const auto list = as<dom::array>(answers, name_in(&place, "answers"));
    for_each(list, &place, "answers", [&](dom::object answer, const Place& inner) {
      example.answers.push_back({std::string(required<std::string_view>(answer, &inner, "text")),
                                 required<int64_t>(answer, &inner, "answer_start")});
    });
  }
  return example;
}

void Reader::check_ids() const {
  std::unordered_set<std::string_view> ids;
  ids.reserve(dataset_.examples.size());
  for (size_t i = 0; i < dataset_.examples.size(); ++i) {
    if (!ids.insert(dataset_.examples[i].id).second) {
      throw Error(ErrorCode::bad_input, dataset_.place(i) + ".id repeats \"" +
                                            dataset_.examples[i].id +
                                            "\"; give each question an id of its own.");
    }
  }
}

/// Parses the first `size` bytes of `padded`, which has simdjson's padding after them.
Dataset parse_padded(const std::string& padded, size_t size, const std::string& where) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  std::string_view json(padded.data(), size);
  if (json.starts_with(kByteOrderMark)) json.remove_prefix(kByteOrderMark.size());
  dom::parser parser;
  dom::element root;
  const simdjson::error_code code =
      parser.parse(json.data(), json.size(), /*realloc_if_needed=*/false).get(root);
  if (code == simdjson::MEMALLOC) {
    throw Error(ErrorCode::runtime, where + ": there is not enough memory to read this file.");
  }
  if (code == simdjson::CAPACITY) {
    throw Error(ErrorCode::bad_input, where + ": is 4 GB or larger; split it into several files.");
  }
  if (code != simdjson::SUCCESS) {
    throw Error(ErrorCode::bad_input,
                where + " " +
                    describe_json_fault({padded.data(), size}, simdjson::error_message(code)) +
                    ".");
  }
  Dataset dataset;
  dataset.where = where;
  Reader(where, dataset).read(root);
  return dataset;
}

}  // namespace

Dataset Dataset::load(const std::filesystem::path& path) {
  std::string json = read_input(path);
  json.reserve(json.size() + simdjson::SIMDJSON_PADDING);
  return parse_padded(json, json.size(), path == "-" ? "standard input" : path.string());
}

Dataset Dataset::parse(std::string_view json, const std::string& where) {
  std::string padded;
  padded.reserve(json.size() + simdjson::SIMDJSON_PADDING);
  padded = json;
  return parse_padded(padded, json.size(), where);
}

std::string Dataset::place(size_t index) const {
  const uint32_t paragraph = examples[index].paragraph;
  const auto after = std::upper_bound(article_begins.begin(), article_begins.end(), paragraph);
  if (after == article_begins.begin()) {
    return (where.empty() ? "" : where + ": ") + "question " + std::to_string(index + 1);
  }
  size_t first = index;
  while (first > 0 && examples[first - 1].paragraph == paragraph) --first;
  const auto article = after - article_begins.begin() - 1;
  return where + ": data[" + std::to_string(article) + "].paragraphs[" +
         std::to_string(paragraph - *(after - 1)) + "].qas[" + std::to_string(index - first) + "]";
}

std::vector<Word> split_words(std::string_view context) {
  constexpr std::string_view kNarrowNoBreakSpace = "\u202F";
  std::vector<Word> words;
  bool inside = false;
  for (uint32_t at = 0; at < context.size();) {
    const char c = context[at];
    uint32_t space = 0;  // bytes of it that begin here
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
      space = 1;
    } else if (c == kNarrowNoBreakSpace[0] && context.substr(at).starts_with(kNarrowNoBreakSpace)) {
      space = static_cast<uint32_t>(kNarrowNoBreakSpace.size());
    }
    if (space > 0) {
      at += space;
      inside = false;
      continue;
    }
    if (!inside) words.push_back({at, at});
    inside = true;
    words.back().end = ++at;
  }
  return words;
}

}  // namespace bertrand
