#include "squad/windows.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/thread_pool.h"
#include "squad/answer_span.h"
#include "squad/word_pieces.h"

namespace bertrand {
namespace {

constexpr size_t kSpecialTokens = 3;  // [CLS] and two [SEP]

/// Tokens [begin, end) of a document.
struct Part {
  uint32_t begin;
  uint32_t end;
};

/// A window, as places in the memory of its group.
struct Cut {
  uint32_t example;
  uint32_t index;
  uint32_t length;  // of ids
  uint32_t document_begin;
  Part part;           // of the group's document
  bool alone;          // the question's only window: all its max_context are 1
  size_t max_context;  // else where they begin
  int32_t start;
  int32_t end;
};

/// Questions that follow each other in the data set and are about the same paragraph; they share
/// its tokens.
struct Group {
  uint32_t first_example = 0;
  uint32_t end_example = 0;
  std::vector<int32_t> ids;          // of all windows, one after the other
  std::vector<uint32_t> words;       // [tokens of the document]: the word each is of
  std::vector<uint8_t> max_context;  // of the windows that are not alone
  std::vector<Cut> cuts;
  std::vector<uint32_t> skipped;                        // examples
  bool empty = false;                                   // the context has no token
  std::optional<std::pair<uint32_t, size_t>> too_long;  // example and tokens of its question
};

std::vector<Group> group_by_paragraph(const std::vector<Example>& examples) {
  std::vector<Group> groups;
  for (uint32_t i = 0; i < examples.size(); ++i) {
    if (i == 0 || examples[i].paragraph != examples[i - 1].paragraph) {
      groups.emplace_back().first_example = i;
    }
    groups.back().end_example = i + 1;
  }
  return groups;
}

/// The parts of a document of `length` tokens, at most `room` in each, that windows are made of.
void cut_document(uint32_t length, uint32_t room, uint32_t stride, std::vector<Part>& parts) {
  parts.clear();
  for (uint32_t begin = 0; begin < length;) {
    const uint32_t end = begin + std::min(length - begin, room);
    parts.push_back({begin, end});
    if (end == length) break;
    begin += std::min(end - begin, stride);
  }
}

/// Makes the windows of one group after the other, on one thread.
class Maker {
 public:
  Maker(const Dataset& dataset, const Tokenizer& tokenizer, const WindowOptions& options)
      : dataset_(dataset),
        options_(options),
        cls_(tokenizer.vocabulary().cls_id()),
        sep_(tokenizer.vocabulary().sep_id()),
        pieces_(tokenizer) {}

  void make(Group& group);

 private:
  void read_document(Group& group);
  void make_question(Group& group, uint32_t index);
  bool find_target(const Example& example);
  void find_best_parts();
  void add_window(Group& group, uint32_t example, uint32_t index);

  const Dataset& dataset_;
  const WindowOptions options_;
  const int32_t cls_;
  const int32_t sep_;
  WordPieces pieces_;

  // Of the paragraph at hand.
  std::string_view context_;
  std::vector<Word> words_;
  std::vector<uint32_t> first_token_;  // [words + 1]
  std::vector<int32_t> document_;

  // Of the question at hand.
  std::vector<int32_t> question_;
  std::vector<int32_t> answer_;
  std::optional<Span> target_;  // tokens of the document
  std::vector<Part> parts_;
  std::vector<double> best_score_;   // [tokens of the document]
  std::vector<uint32_t> best_part_;  // [tokens of the document]: gives it the most context
};

void Maker::make(Group& group) {
  context_ = dataset_.context(dataset_.examples[group.first_example]);
  read_document(group);
  group.empty = document_.empty();
  if (group.empty) return;
  for (uint32_t i = group.first_example; i < group.end_example && !group.too_long; ++i) {
    make_question(group, i);
  }
}

void Maker::read_document(Group& group) {
  words_ = split_words(context_);
  document_.clear();
  first_token_.clear();
  for (uint32_t i = 0; i < words_.size(); ++i) {
    first_token_.push_back(static_cast<uint32_t>(document_.size()));
    pieces_.append(context_.substr(words_[i].begin, words_[i].end - words_[i].begin), document_);
    group.words.resize(document_.size(), i);
  }
  first_token_.push_back(static_cast<uint32_t>(document_.size()));
}

void Maker::make_question(Group& group, uint32_t index) {
  const Example& example = dataset_.examples[index];
  if (options_.training && !find_target(example)) {
    group.skipped.push_back(index);
    return;
  }
  question_.clear();
  pieces_.append_text(example.question, question_);
  if (question_.size() > options_.max_query_length) question_.resize(options_.max_query_length);
  if (question_.size() + kSpecialTokens >= options_.max_seq_length) {
    group.too_long = {index, question_.size()};
    return;
  }
  const auto room =
      static_cast<uint32_t>(options_.max_seq_length - question_.size() - kSpecialTokens);
  cut_document(static_cast<uint32_t>(document_.size()), room, options_.doc_stride, parts_);
  if (parts_.size() > 1) find_best_parts();
  for (uint32_t i = 0; i < parts_.size(); ++i) add_window(group, index, i);
}

/// Sets target_, empty where the question has no answer; false where its text is not found.
bool Maker::find_target(const Example& example) {
  target_.reset();
  if (example.is_impossible) return true;
  const Answer& answer = example.answers.front();
  const std::optional<Span> words = find_answer_words(context_, words_, answer);
  if (!words) return false;
  const uint32_t begin = first_token_[words->first];
  const uint32_t end = first_token_[words->last + 1];
  if (begin == end) return false;  // words of nothing but what the tokenizer removes
  answer_.clear();
  pieces_.append_text(answer.text, answer_);
  target_ = narrow_to_answer(document_, {begin, end - 1}, answer_);
  return true;
}

/// The part that gives a token the most context on its poorer side, a longer part a little more.
/// Source: Devlin et al.'s run_squad.py, _check_is_max_context.
void Maker::find_best_parts() {
  constexpr double kForLength = 0.01;
  best_score_.assign(document_.size(), -1.0);
  best_part_.assign(document_.size(), 0);
  for (uint32_t i = 0; i < parts_.size(); ++i) {
    const auto [begin, end] = parts_[i];
    const double for_length = kForLength * (end - begin);
    for (uint32_t token = begin; token < end; ++token) {
      const double score = std::min(token - begin, end - 1 - token) + for_length;
      if (score > best_score_[token]) {
        best_score_[token] = score;
        best_part_[token] = i;
      }
    }
  }
}

void Maker::add_window(Group& group, uint32_t example, uint32_t index) {
  const Part part = parts_[index];
  const size_t begin = group.ids.size();
  Cut cut = {};
  cut.example = example;
  cut.index = index;
  cut.part = part;
  cut.document_begin = static_cast<uint32_t>(question_.size() + 2);
  group.ids.push_back(cls_);
  group.ids.insert(group.ids.end(), question_.begin(), question_.end());
  group.ids.push_back(sep_);
  group.ids.insert(group.ids.end(), document_.begin() + part.begin, document_.begin() + part.end);
  group.ids.push_back(sep_);
  cut.length = static_cast<uint32_t>(group.ids.size() - begin);
  cut.alone = parts_.size() == 1;
  if (!cut.alone) {
    cut.max_context = group.max_context.size();
    for (uint32_t token = part.begin; token < part.end; ++token) {
      group.max_context.push_back(best_part_[token] == index ? 1 : 0);
    }
  }
  if (!options_.training) {
    cut.start = cut.end = -1;
  } else if (target_ && target_->first >= part.begin && target_->last < part.end) {
    cut.start = static_cast<int32_t>(target_->first - part.begin + cut.document_begin);
    cut.end = static_cast<int32_t>(target_->last - part.begin + cut.document_begin);
  }
  group.cuts.push_back(cut);
}

void check_options(const WindowOptions& options) {
  if (options.max_seq_length <= kSpecialTokens) {
    throw Error(ErrorCode::usage, "A window of at most " + std::to_string(options.max_seq_length) +
                                      " tokens has no place for a question and a part of its "
                                      "context; choose a larger --max-seq-length.");
  }
  if (options.doc_stride == 0) {
    throw Error(ErrorCode::usage,
                "With doc_stride 0 the next window would be the same again; choose at least 1.");
  }
}

void check_answers(const Dataset& dataset) {
  for (size_t i = 0; i < dataset.examples.size(); ++i) {
    const Example& example = dataset.examples[i];
    if (!example.is_impossible && example.answers.size() != 1) {
      throw Error(ErrorCode::bad_input,
                  dataset.place(i) + " (id \"" + example.id + "\") has " +
                      std::to_string(example.answers.size()) +
                      " answers; for training each question needs exactly one, unless "
                      "is_impossible is true.");
    }
  }
}

[[noreturn]] void fail_too_long(const Dataset& dataset, const WindowOptions& options,
                                uint32_t example, size_t tokens) {
  throw Error(ErrorCode::usage,
              dataset.place(example) + " has " + std::to_string(tokens) +
                  " tokens, which leaves no place for the context in a window of " +
                  std::to_string(options.max_seq_length) +
                  "; choose a larger --max-seq-length or a smaller --max-query-length.");
}

}  // namespace

struct WindowSet::Storage {
  std::vector<Group> groups;
  std::vector<uint8_t> ones;  // the max_context of every window that is alone
  std::vector<Window> windows;
  WindowReport report;

  void collect(const Dataset& dataset);

 private:
  void add_windows(const Group& group);
};

/// Joins what the groups hold, in order.
void WindowSet::Storage::collect(const Dataset& dataset) {
  size_t count = 0;
  uint32_t longest = 0;
  for (const Group& group : groups) {
    count += group.cuts.size();
    for (const Cut& cut : group.cuts) longest = std::max(longest, cut.length);
  }
  ones.assign(longest, 1);
  windows.reserve(count);
  for (Group& group : groups) {
    add_windows(group);
    group.cuts = {};
    for (const uint32_t i : group.skipped) report.skipped.push_back(dataset.examples[i].id);
    if (!group.empty) continue;
    for (uint32_t i = group.first_example; i < group.end_example; ++i) {
      report.empty_contexts.push_back(dataset.examples[i].id);
    }
  }
}

void WindowSet::Storage::add_windows(const Group& group) {
  size_t begin = 0;
  for (const Cut& cut : group.cuts) {
    const size_t tokens = cut.part.end - cut.part.begin;
    Window& window = windows.emplace_back();
    window.example = cut.example;
    window.index = cut.index;
    window.ids = std::span(group.ids).subspan(begin, cut.length);
    window.document_begin = cut.document_begin;
    window.words = std::span(group.words).subspan(cut.part.begin, tokens);
    window.max_context = cut.alone ? std::span<const uint8_t>(ones).first(tokens)
                                   : std::span(group.max_context).subspan(cut.max_context, tokens);
    window.start = cut.start;
    window.end = cut.end;
    begin += cut.length;
  }
}

WindowSet::WindowSet() : storage_(std::make_unique<Storage>()) {}
WindowSet::~WindowSet() = default;
WindowSet::WindowSet(WindowSet&&) noexcept = default;
WindowSet& WindowSet::operator=(WindowSet&&) noexcept = default;

size_t WindowSet::size() const { return storage_->windows.size(); }
Window WindowSet::operator[](size_t index) const { return storage_->windows[index]; }
const WindowReport& WindowSet::report() const { return storage_->report; }

WindowSet make_windows(const Dataset& dataset, const Tokenizer& tokenizer,
                       const WindowOptions& options, unsigned threads) {
  check_options(options);
  if (options.training) check_answers(dataset);
  WindowSet set;
  std::vector<Group>& groups = set.storage_->groups;
  groups = group_by_paragraph(dataset.examples);
  ThreadPool pool(std::max(1U, threads));
  std::vector<std::optional<Maker>> makers(pool.size());
  pool.for_each(groups.size(), [&](size_t index, unsigned worker) {
    if (!makers[worker]) makers[worker].emplace(dataset, tokenizer, options);
    makers[worker]->make(groups[index]);
  });
  for (const Group& group : groups) {
    if (group.too_long) {
      fail_too_long(dataset, options, group.too_long->first, group.too_long->second);
    }
  }
  set.storage_->collect(dataset);
  return set;
}

}  // namespace bertrand
