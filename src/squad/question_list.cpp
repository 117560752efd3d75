#include "squad/question_list.h"

#include <algorithm>

#include <fmt/format.h>

namespace bertrand {
namespace {

constexpr size_t kNamed = 10;

}  // namespace

std::string question_list(std::span<const std::string> ids) {
  const std::string named =
      fmt::format("{}", fmt::join(ids.first(std::min(ids.size(), kNamed)), ", "));
  if (ids.size() > kNamed) {
    return fmt::format("{} questions ({}, ...)", ids.size(), named);
  }
  return (ids.size() == 1 ? "question " : "questions ") + named;
}

std::vector<std::string> sentences_of(const WindowReport& report, const std::string& where) {
  std::vector<std::string> sentences;
  if (!report.skipped.empty()) {
    sentences.push_back(
        fmt::format("{}: the answer is not where it should be in the context of {}; skipped.",
                    where, question_list(report.skipped)));
  }
  if (!report.empty_contexts.empty()) {
    sentences.push_back(fmt::format("{}: the context of {} is empty: no window.", where,
                                    question_list(report.empty_contexts)));
  }
  return sentences;
}

}  // namespace bertrand
