#include "squad/answers.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "squad/answer_text.h"

namespace bertrand {
namespace {

constexpr const char* kNothingFound = "empty";

/// Logits are f32; their sum is f64, as Python's is.
double score_of(float start_logit, float end_logit) {
  return static_cast<double>(start_logit) + static_cast<double>(end_logit);
}

double score_of(const Candidate& candidate) {
  return score_of(candidate.start_logit, candidate.end_logit);
}

/// A possible answer in one window: positions of its first and last token.
struct TokenSpan {
  uint32_t first;
  uint32_t last;
  double score;
};

void check_finite(std::span<const float> logits, const Example& example) {
  if (!std::all_of(logits.begin(), logits.end(), [](float x) { return std::isfinite(x); })) {
    throw Error(ErrorCode::bad_input,
                "The scores of question " + example.id +
                    " are not numbers: the model's weights are broken; take another model.");
  }
}

/// The places of the `count` highest values, highest first; of equal ones the earlier first.
std::vector<uint32_t> best_places(std::span<const float> values, size_t count) {
  std::vector<uint32_t> places(values.size());
  std::iota(places.begin(), places.end(), 0u);
  const auto end = places.begin() + static_cast<std::ptrdiff_t>(std::min(count, places.size()));
  std::partial_sort(places.begin(), end, places.end(), [values](uint32_t a, uint32_t b) {
    return values[a] != values[b] ? values[a] > values[b] : a < b;
  });
  places.erase(end, places.end());
  return places;
}

/// The spans that may be answers, best first. All tokens compete for the best starts and ends; only
/// then those are left out that are not of the document.
std::vector<TokenSpan> best_spans(const WindowLogits& logits, const AnswerOptions& options) {
  const Window& window = logits.window;
  const uint32_t begin = window.document_begin;
  const auto end = begin + static_cast<uint32_t>(window.words.size());
  const auto in_document = [=](uint32_t place) { return place >= begin && place < end; };
  const std::vector<uint32_t> lasts = best_places(logits.end, options.n_best);
  std::vector<TokenSpan> spans;
  for (const uint32_t first : best_places(logits.start, options.n_best)) {
    if (!in_document(first) || window.max_context[first - begin] == 0) continue;
    for (const uint32_t last : lasts) {
      if (!in_document(last) || last < first) continue;
      if (last - first + 1 > options.max_answer_tokens) continue;
      spans.push_back({first, last, score_of(logits.start[first], logits.end[last])});
    }
  }
  std::stable_sort(spans.begin(), spans.end(),
                   [](const TokenSpan& a, const TokenSpan& b) { return a.score > b.score; });
  return spans;
}

/// Appends the best answers of one window, no text twice.
void add_candidates(std::vector<Candidate>& candidates, const WindowLogits& logits,
                    const AnswerContext& context, const Vocabulary& vocabulary,
                    const AnswerOptions& options) {
  const Window& window = logits.window;
  std::unordered_set<std::string> seen;
  for (const TokenSpan& span : best_spans(logits, options)) {
    if (seen.size() == options.n_best) break;
    const auto word_of = [&](uint32_t place) {
      return window.words[place - window.document_begin];
    };
    const std::u32string predicted =
        join_pieces(vocabulary, window.ids.subspan(span.first, span.last - span.first + 1));
    AnswerText answer =
        context.text(context.find(predicted, word_of(span.first), word_of(span.last)));
    if (!seen.insert(answer.text).second) continue;
    Candidate& candidate = candidates.emplace_back();
    candidate.text = std::move(answer.text);
    candidate.start_logit = logits.start[span.first];
    candidate.end_logit = logits.end[span.last];
    candidate.begin = answer.begin;
    candidate.end = answer.end;
  }
}

/// "" with the lowest score that [CLS] has in any window.
Candidate no_answer(std::span<const WindowLogits> windows) {
  const auto cls_score = [](const WindowLogits& logits) {
    return score_of(logits.start.front(), logits.end.front());
  };
  const auto lowest = std::min_element(
      windows.begin(), windows.end(),
      [&](const WindowLogits& a, const WindowLogits& b) { return cls_score(a) < cls_score(b); });
  Candidate nothing;
  nothing.start_logit = lowest->start.front();
  nothing.end_logit = lowest->end.front();
  return nothing;
}

void sort_by_score(std::vector<Candidate>& candidates) {
  std::stable_sort(
      candidates.begin(), candidates.end(),
      [](const Candidate& a, const Candidate& b) { return score_of(a) > score_of(b); });
}

/// Softmax over the scores; candidates are sorted, and there is at least one.
void set_probabilities(std::vector<Candidate>& candidates) {
  const double highest = score_of(candidates.front());
  double sum = 0;
  for (Candidate& candidate : candidates) {
    candidate.probability = std::exp(score_of(candidate) - highest);
    sum += candidate.probability;
  }
  for (Candidate& candidate : candidates) candidate.probability /= sum;
}

/// The one answer where nothing can be said.
Prediction only(const std::string& text) {
  Prediction prediction;
  prediction.text = text;
  prediction.n_best.emplace_back().text = text;
  prediction.n_best.front().probability = 1;
  return prediction;
}

}  // namespace

Prediction answer_question(const Dataset& dataset, const Example& example,
                           std::span<const WindowLogits> windows, const Tokenizer& tokenizer,
                           const AnswerOptions& options) {
  if (windows.empty()) return only("");
  const AnswerContext context(dataset.context(example), tokenizer);
  std::vector<Candidate> candidates;
  for (const WindowLogits& logits : windows) {
    check_finite(logits.start, example);
    check_finite(logits.end, example);
    add_candidates(candidates, logits, context, tokenizer.vocabulary(), options);
  }
  if (!options.allow_no_answer && candidates.empty()) return only(kNothingFound);

  sort_by_score(candidates);
  Prediction prediction;
  if (options.allow_no_answer) {
    const Candidate nothing = no_answer(windows);
    prediction.no_answer_score = score_of(nothing);
    if (!candidates.empty()) {
      const Candidate& best = candidates.front();
      prediction.no_answer_score -= best.start_logit;
      prediction.no_answer_score -= best.end_logit;
      if (prediction.no_answer_score <= options.no_answer_threshold) prediction.text = best.text;
    }
    candidates.push_back(nothing);
    sort_by_score(candidates);
  } else {
    prediction.text = candidates.front().text;
  }
  candidates.resize(std::min(candidates.size(), options.n_best));
  set_probabilities(candidates);
  prediction.n_best = std::move(candidates);
  return prediction;
}

}  // namespace bertrand
