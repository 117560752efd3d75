#include "bertrand/reader.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/thread_pool.h"
#include "predict/predictor.h"
#include "reader/model.h"

namespace bertrand {
namespace {

constexpr uint32_t kUsualLength = 384;

Model load(const std::filesystem::path& path, const ReaderOptions& options) {
  ModelOptions model;
  model.threads = usable_threads(options.threads);
  model.precision = parse_precision(options.precision);
  model.engine.engine = options.engine;
  model.engine.device = options.device;
  model.engine.plugin = options.torch_plugin;
  model.engine.library = options.torch_library.string();
  model.lower_case = options.lower_case;
  return Model::load(path, model);
}

PredictOptions predict_options(const ReaderOptions& options, const BertConfig& config) {
  PredictOptions predict;
  predict.windows.max_seq_length =
      options.max_seq_length != 0
          ? options.max_seq_length
          : static_cast<uint32_t>(std::min<int64_t>(kUsualLength, config.max_position_embeddings));
  predict.windows.doc_stride = options.doc_stride;
  predict.windows.max_query_length = options.max_query_length;
  predict.answers.n_best = options.n_best;
  predict.answers.max_answer_tokens = options.max_answer_length;
  predict.answers.allow_no_answer = options.allow_no_answer;
  predict.answers.no_answer_threshold = options.no_answer_threshold;
  predict.threads = usable_threads(options.threads);
  return predict;
}

/// As a data set, where equal contexts are one paragraph.
Dataset as_dataset(std::span<const Question> questions) {
  Dataset dataset;
  std::unordered_map<std::string_view, uint32_t> known;
  for (const Question& question : questions) {
    const auto next = static_cast<uint32_t>(dataset.paragraphs.size());
    const auto [place, is_new] = known.try_emplace(question.context, next);
    if (is_new) dataset.paragraphs.push_back(question.context);
    Example& example = dataset.examples.emplace_back();
    example.id = std::to_string(dataset.examples.size());
    example.question = question.question;
    example.paragraph = place->second;
  }
  return dataset;
}

/// The answer of the prediction, then the others by their scores.
std::vector<FoundAnswer> best_answers(const Prediction& prediction, size_t top_k) {
  std::vector<FoundAnswer> answers;
  for (const Candidate& candidate : prediction.n_best) {
    answers.push_back({candidate.text, candidate.probability, candidate.begin, candidate.end});
    // "empty" stands nowhere in the context: nothing was found.
    if (candidate.begin == candidate.end) answers.back().text.clear();
  }
  const auto chosen = std::find_if(answers.begin(), answers.end(), [&](const FoundAnswer& answer) {
    return answer.text == prediction.text;
  });
  if (chosen != answers.end()) {
    std::rotate(answers.begin(), chosen, chosen + 1);
  } else if (prediction.text.empty()) {  // chosen, though others fill the list
    answers.insert(answers.begin(), FoundAnswer{});
  }
  answers.resize(std::min(answers.size(), std::max<size_t>(top_k, 1)));
  return answers;
}

}  // namespace

struct Reader::Parts {
  Model model;
  PredictOptions options;
};

Reader::Reader(const std::filesystem::path& model, const ReaderOptions& options) {
  Model loaded = load(model, options);
  PredictOptions predict = predict_options(options, loaded.config());
  predict.model = model.string();
  parts_ = std::make_unique<Parts>(Parts{std::move(loaded), std::move(predict)});
}

Reader::~Reader() = default;
Reader::Reader(Reader&& other) noexcept = default;
Reader& Reader::operator=(Reader&& other) noexcept = default;

std::string Reader::precision() const { return name_of(parts_->model.precision()); }

std::vector<FoundAnswer> Reader::ask(const Question& question, size_t top_k) {
  return ask(std::span(&question, 1), top_k).front();
}

std::vector<std::vector<FoundAnswer>> Reader::ask(std::span<const Question> questions,
                                                  size_t top_k) {
  PredictOptions options = parts_->options;
  // Two at least, so that "" does not push out the best other answer.
  options.answers.n_best = std::max({options.answers.n_best, top_k, size_t{2}});
  const Dataset dataset = as_dataset(questions);
  std::vector<std::vector<FoundAnswer>> answers;
  answers.reserve(questions.size());
  for (const Prediction& prediction :
       predict(dataset, parts_->model.tokenizer(), parts_->model.engine(), options)) {
    answers.push_back(best_answers(prediction, top_k));
  }
  return answers;
}

}  // namespace bertrand
