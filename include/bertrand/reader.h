#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace bertrand {

/// How a Reader computes and what it takes for an answer. The values given are those of SQuAD.
struct ReaderOptions {
  unsigned threads = 0;            ///< 0: all this process may use, which is also the most
  std::string precision = "fp32";  ///< of matrix products: fp32, int8, or, on processors that
                                   ///< have it, bf16; auto: fp32 or bf16, whichever is faster;
                                   ///< on devices also tf32 and fp16, but not int8
  std::string device = "cpu";      ///< cpu, cuda, cuda:1, mlu
  std::string engine{};            ///< native, torch; empty: native on the CPU, torch elsewhere
  std::filesystem::path torch_plugin{};   ///< libbertrand_torch.so; empty: looked for beside the
                                          ///< program and in $BERTRAND_TORCH_PLUGIN
  std::filesystem::path torch_library{};  ///< libtorch_mlu.so, for mlu; empty: looked for
  std::optional<bool> lower_case = std::nullopt;  ///< instead of what the model's folder says

  uint32_t max_seq_length = 0;     ///< tokens of question and text read at once, at most; 0: 384,
                                   ///< or as many as the model has positions where that is less
  uint32_t doc_stride = 128;       ///< a long text is read in parts that begin so many tokens apart
  uint32_t max_query_length = 64;  ///< tokens read of a question
  size_t n_best = 20;              ///< answers considered
  uint32_t max_answer_length = 30;   ///< tokens of an answer, at most
  bool allow_no_answer = false;      ///< "" may be the answer, for models trained on SQuAD v2.0
  double no_answer_threshold = 0.0;  ///< "" is the answer where its logits are above the best
                                     ///< other answer's by more than this
};

/// A question about a text. Both are UTF-8; bytes that are not count as U+FFFD.
struct Question {
  std::string question;
  std::string context;
};

/// Part of a context that may answer a question. "" says that there is none.
struct FoundAnswer {
  std::string text;    ///< as in the context, but with one space between words
  double score = 0;    ///< probability among the answers considered
  uint32_t begin = 0;  ///< where it stands in the context, in code points: [begin, end);
  uint32_t end = 0;    ///< 0, 0 for ""
};

/// Answers questions about texts with a BERT fine-tuned on SQuAD.
///
///     bertrand::Reader reader("models/minilm-l6-squad");
///     auto answers = reader.ask({"What do owls hunt?", "At night owls hunt mice."});
///     // answers[0].text is "mice"
///
/// Everything that fails throws std::runtime_error with a sentence that names the file, the place
/// in it and what to do. Calls on one Reader must not run at the same time.
class Reader {
 public:
  /// Loads a model folder: config.json, vocab.txt, model.safetensors. The weights stay mapped: to
  /// change a model while a Reader uses it, put new files in the place of the old ones, as all of
  /// Bertrand's commands do, and do not write into them.
  explicit Reader(const std::filesystem::path& model, const ReaderOptions& options = {});
  ~Reader();
  Reader(Reader&& other) noexcept;
  Reader& operator=(Reader&& other) noexcept;

  /// The best answers, at most `top_k` and at least one, the chosen one first.
  std::vector<FoundAnswer> ask(const Question& question, size_t top_k = 1);

  /// The same for many questions, in their order; faster than one after the other.
  std::vector<std::vector<FoundAnswer>> ask(std::span<const Question> questions, size_t top_k = 1);

  /// What it computes in: "fp32", "bf16" or "int8", also where `auto` was asked for.
  std::string precision() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace bertrand
