#include "squad/metrics.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <span>

#include "base/error.h"
#include "text/python_text.h"

namespace bertrand {
namespace {

/// What one prediction scores, 0 to 1.
struct QuestionScore {
  double exact_match = 0;
  double f1 = 0;
};

/// One question as the scores see it.
struct Judged {
  QuestionScore score;
  bool has_answer = true;
  bool predicted = false;    ///< there is a prediction,
  bool says_nothing = true;  ///< and it is ""
  double no_answer_score = 0;

  /// What it scores when it counts as answered "" above the threshold.
  QuestionScore score_at(double threshold) const {
    if (!predicted || no_answer_score <= threshold) return score;
    return has_answer ? QuestionScore{0, 0} : QuestionScore{1, 1};
  }
};

/// string.punctuation.
bool is_ascii_punctuation(char32_t c) {
  return (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) ||
         (c >= 0x7B && c <= 0x7E);
}

bool is_article(std::u32string_view word) {
  return word == U"a" || word == U"an" || word == U"the";
}

/// Replaces every article by a space. A word is a longest run of word characters, as between two
/// \b of a regular expression.
std::u32string without_articles(std::u32string_view text) {
  std::u32string kept;
  kept.reserve(text.size());
  for (auto place = text.begin(); place != text.end();) {
    const auto end = std::find_if_not(place, text.end(), is_word_character);
    if (end == place) {
      kept.push_back(*place++);
      continue;
    }
    const std::u32string_view word(&*place, static_cast<size_t>(end - place));
    kept.append(is_article(word) ? U" " : word);
    place = end;
  }
  return kept;
}

/// The normalized words of an answer, in their order.
std::vector<std::string> answer_words(std::string_view answer) {
  std::u32string text = lower(code_points(answer));
  std::erase_if(text, is_ascii_punctuation);
  text = without_articles(text);
  std::vector<std::string> words;
  for (auto place = text.begin(); place != text.end();) {
    const auto begin = std::find_if_not(place, text.end(), is_space);
    place = std::find_if(begin, text.end(), is_space);
    if (begin != place) {
      words.push_back(to_utf8({&*begin, static_cast<size_t>(place - begin)}));
    }
  }
  return words;
}

/// F1 of two bags of words, both sorted.
double bag_f1(const std::vector<std::string>& predicted, const std::vector<std::string>& gold) {
  std::vector<std::string> common;
  std::set_intersection(predicted.begin(), predicted.end(), gold.begin(), gold.end(),
                        std::back_inserter(common));
  if (common.empty()) return 0;
  const auto same = static_cast<double>(common.size());
  const double precision = same / static_cast<double>(predicted.size());
  const double recall = same / static_cast<double>(gold.size());
  return 2 * precision * recall / (precision + recall);
}

/// Compares with each gold answer and keeps the best of both scores. Only v2.0 takes two empty
/// answers as the same words.
QuestionScore best_score(std::string_view prediction, std::span<const Answer> gold, bool v2) {
  std::vector<std::string> predicted = answer_words(prediction);
  std::vector<std::string> sorted = predicted;
  std::sort(sorted.begin(), sorted.end());
  QuestionScore best;
  for (const Answer& answer : gold) {
    std::vector<std::string> words = answer_words(answer.text);
    const double same = words == predicted ? 1 : 0;
    std::sort(words.begin(), words.end());
    const bool one_is_empty = words.empty() || sorted.empty();
    const double f1 = v2 && one_is_empty ? same : bag_f1(sorted, words);
    best.exact_match = std::max(best.exact_match, same);
    best.f1 = std::max(best.f1, f1);
  }
  return best;
}

/// v2.0 leaves out gold answers that normalize to nothing; none left means "" is the answer.
std::vector<Answer> gold_answers_v2(const Example& example) {
  std::vector<Answer> gold;
  std::copy_if(example.answers.begin(), example.answers.end(), std::back_inserter(gold),
               [](const Answer& answer) { return !answer_words(answer.text).empty(); });
  if (gold.empty()) gold.emplace_back();
  return gold;
}

Judged judge(const Example& example, const std::string* prediction, bool v2) {
  Judged judged;
  judged.has_answer = !v2 || !example.answers.empty();
  judged.predicted = prediction != nullptr;
  if (prediction == nullptr) return judged;
  judged.says_nothing = prediction->empty();
  if (v2) {
    judged.score = best_score(*prediction, gold_answers_v2(example), v2);
  } else {
    judged.score = best_score(*prediction, example.answers, v2);
  }
  return judged;
}

template <class Chosen>
Score total_score(std::span<const Judged> questions, double threshold, Chosen chosen) {
  Score sum;
  for (const Judged& question : questions) {
    if (!chosen(question)) continue;
    const QuestionScore score = question.score_at(threshold);
    sum.exact_match += score.exact_match;
    sum.f1 += score.f1;
    ++sum.total;
  }
  if (sum.total > 0) {
    sum.exact_match = 100.0 * sum.exact_match / static_cast<double>(sum.total);
    sum.f1 = 100.0 * sum.f1 / static_cast<double>(sum.total);
  }
  return sum;
}

struct Best {
  double percent = 0;
  double threshold = 0;
};

/// Raises the threshold question by question: each then counts by its own answer instead of "".
Best best_threshold(std::span<const Judged> questions, double QuestionScore::*score) {
  std::vector<const Judged*> by_score;
  double now = 0;
  for (const Judged& question : questions) {
    if (!question.predicted) continue;
    by_score.push_back(&question);
    now += question.has_answer ? 0 : 1;
  }
  std::stable_sort(by_score.begin(), by_score.end(), [](const Judged* a, const Judged* b) {
    return a->no_answer_score < b->no_answer_score;
  });
  double most = now;
  double threshold = 0;
  for (const Judged* question : by_score) {
    now += question->has_answer ? question->score.*score : question->says_nothing ? 0 : -1;
    if (now > most) {
      most = now;
      threshold = question->no_answer_score;
    }
  }
  return {100.0 * most / static_cast<double>(questions.size()), threshold};
}

}  // namespace

std::string normalize_answer(std::string_view text) {
  std::string normalized;
  for (const std::string& word : answer_words(text)) {
    if (!normalized.empty()) normalized += ' ';
    normalized += word;
  }
  return normalized;
}

void check_can_evaluate(const Dataset& dataset) {
  if (dataset.examples.empty()) {
    throw Error(ErrorCode::bad_input,
                (dataset.where.empty() ? "The data set" : dataset.where) +
                    ": has no question to evaluate; give a SQuAD file with questions.");
  }
  for (size_t i = 0; !dataset.has_impossible && i < dataset.examples.size(); ++i) {
    if (dataset.examples[i].answers.empty()) {
      throw Error(ErrorCode::bad_input, dataset.place(i) + " (id \"" + dataset.examples[i].id +
                                            "\") has no answer to compare with; give a file with "
                                            "answers.");
    }
  }
}

Metrics evaluate(const Dataset& dataset,
                 const std::unordered_map<std::string, std::string>& predictions,
                 const std::unordered_map<std::string, double>& no_answer_scores,
                 double no_answer_threshold) {
  check_can_evaluate(dataset);
  const bool v2 = dataset.has_impossible;
  const bool scored = v2 && !no_answer_scores.empty();
  Metrics metrics;
  std::vector<Judged> questions;
  questions.reserve(dataset.examples.size());
  for (const Example& example : dataset.examples) {
    const auto found = predictions.find(example.id);
    const bool missing = found == predictions.end();
    questions.push_back(judge(example, missing ? nullptr : &found->second, v2));
    if (missing) {
      metrics.missing.push_back(example.id);
    } else if (scored) {
      const auto score = no_answer_scores.find(example.id);
      if (score == no_answer_scores.end()) {
        throw Error(ErrorCode::bad_input, "Question " + example.id +
                                              " has a prediction but no no-answer score; give "
                                              "both files from the same run.");
      }
      questions.back().no_answer_score = score->second;
    }
  }
  // Without scores no threshold may apply, however low.
  const double threshold = scored ? no_answer_threshold : 0.0;
  const auto has_answer = [](const Judged& question) { return question.has_answer; };
  metrics.all = total_score(questions, threshold, [](const Judged&) { return true; });
  if (!v2) return metrics;
  metrics.has_answer = total_score(questions, threshold, has_answer);
  metrics.no_answer = total_score(questions, threshold, std::not_fn(has_answer));
  if (scored) {
    const Best exact_match = best_threshold(questions, &QuestionScore::exact_match);
    const Best f1 = best_threshold(questions, &QuestionScore::f1);
    metrics.best = {exact_match.percent, exact_match.threshold, f1.percent, f1.threshold};
  }
  return metrics;
}

}  // namespace bertrand
