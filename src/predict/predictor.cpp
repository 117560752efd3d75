#include "predict/predictor.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <span>

#include "base/error.h"
#include "base/thread_pool.h"
#include "model/packing.h"

namespace bertrand {
namespace {

/// Windows whose logits are held at once, about 20 MB; enough to find many of like length.
constexpr size_t kChunkWindows = 8192;

void check_length(const WindowOptions& windows, const BertConfig& config) {
  if (windows.max_seq_length > config.max_position_embeddings) {
    throw Error(ErrorCode::usage, "Windows of " + std::to_string(windows.max_seq_length) +
                                      " tokens are longer than the model's " +
                                      std::to_string(config.max_position_embeddings) +
                                      " positions; give a smaller --max-seq-length.");
  }
}

/// The logits of some consecutive windows [begin, end), computed in batches.
class ChunkLogits {
 public:
  ChunkLogits(const WindowSet& windows, size_t begin, size_t end) : begin_(begin) {
    for (size_t i = begin; i < end; ++i) {
      windows_.push_back(windows[i]);
      offsets_.push_back(offsets_.back() + windows_.back().ids.size());
    }
    start_.resize(offsets_.back());
    end_.resize(offsets_.back());
  }

  /// Calls done(n) after each batch of n windows.
  template <class Done>
  void compute(Engine& engine, size_t batch_tokens, const Done& done) {
    const std::vector<size_t> order = longest_first();
    PackedBatch batch;
    for (size_t first = 0; first < order.size();) {
      batch.clear();
      size_t last = first;
      while (last < order.size() &&
             (last == first || batch.tokens() + windows_[order[last]].ids.size() <= batch_tokens)) {
        const Window& window = windows_[order[last]];
        batch.add(window.ids, window.document_begin, begin_ + order[last]);
        ++last;
      }
      const SpanLogits logits = engine.forward(batch);
      for (size_t b = 0; b < batch.windows(); ++b) keep(logits, batch, b, order[first + b]);
      done(last - first);
      first = last;
    }
  }

  WindowLogits operator[](size_t index) const {
    const size_t offset = offsets_[index];
    const size_t length = offsets_[index + 1] - offset;
    return {windows_[index], std::span(start_).subspan(offset, length),
            std::span(end_).subspan(offset, length)};
  }

  size_t size() const { return windows_.size(); }

 private:
  std::vector<size_t> longest_first() const {
    std::vector<size_t> order(windows_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [this](size_t a, size_t b) {
      return windows_[a].ids.size() > windows_[b].ids.size();
    });
    return order;
  }

  void keep(const SpanLogits& logits, const PackedBatch& batch, size_t b, size_t index) {
    const auto from = static_cast<std::ptrdiff_t>(batch.offsets[b]);
    const auto to = static_cast<std::ptrdiff_t>(offsets_[index]);
    const size_t length = batch.length(b);
    std::copy_n(logits.start.begin() + from, length, start_.begin() + to);
    std::copy_n(logits.end.begin() + from, length, end_.begin() + to);
  }

  size_t begin_;
  std::vector<Window> windows_;
  std::vector<size_t> offsets_ = {0};
  std::vector<float> start_;
  std::vector<float> end_;
};

/// The end of the question that window `begin` belongs to.
size_t end_of_question(const WindowSet& windows, size_t begin) {
  size_t end = begin + 1;
  while (end < windows.size() && windows[end].example == windows[begin].example) ++end;
  return end;
}

/// Where a chunk of whole questions ends that begins at `begin`.
size_t end_of_chunk(const WindowSet& windows, size_t begin) {
  size_t end = begin;
  while (end < windows.size() && end - begin < kChunkWindows) end = end_of_question(windows, end);
  return end;
}

}  // namespace

std::vector<Prediction> predict(const Dataset& dataset, const Tokenizer& tokenizer, Engine& engine,
                                const PredictOptions& options, const PredictProgress& progress) {
  check_length(options.windows, engine.config());
  const WindowSet windows = make_windows(dataset, tokenizer, options.windows, options.threads);
  if (options.on_windows) options.on_windows(windows.report());
  ThreadPool pool(options.threads);
  std::vector<Prediction> predictions(dataset.examples.size());
  std::vector<uint8_t> answered(dataset.examples.size(), 0);
  const auto answer = [&](size_t example, std::span<const WindowLogits> logits) {
    try {
      predictions[example] =
          answer_question(dataset, dataset.examples[example], logits, tokenizer, options.answers);
    } catch (const Error& error) {
      if (options.model.empty()) throw;
      throw Error(error.code(), options.model + ": " + error.what());
    }
    answered[example] = 1;
  };
  size_t done = 0;
  for (size_t begin = 0; begin < windows.size();) {
    const size_t end = end_of_chunk(windows, begin);
    ChunkLogits chunk(windows, begin, end);
    chunk.compute(engine, options.batch_tokens, [&](size_t count) {
      done += count;
      if (progress) progress(done, windows.size());
    });
    std::vector<size_t> questions;  // where each begins in the chunk
    for (size_t i = begin; i < end; i = end_of_question(windows, i)) questions.push_back(i - begin);
    pool.for_each(questions.size(), [&](size_t question, unsigned) {
      const size_t first = questions[question];
      const size_t last = question + 1 < questions.size() ? questions[question + 1] : chunk.size();
      std::vector<WindowLogits> logits;
      for (size_t i = first; i < last; ++i) logits.push_back(chunk[i]);
      answer(windows[begin + first].example, logits);
    });
    begin = end;
  }
  for (size_t example = 0; example < answered.size(); ++example) {
    if (answered[example] == 0) answer(example, {});
  }
  return predictions;
}

std::unordered_map<std::string, std::string> best_answers(
    const Dataset& dataset, const std::vector<Prediction>& predictions) {
  std::unordered_map<std::string, std::string> answers;
  answers.reserve(predictions.size());
  for (size_t i = 0; i < predictions.size(); ++i) {
    answers.emplace(dataset.examples[i].id, predictions[i].text);
  }
  return answers;
}

}  // namespace bertrand
