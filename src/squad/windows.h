#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "squad/dataset.h"
#include "text/tokenizer.h"

namespace bertrand {

struct WindowOptions {
  uint32_t max_seq_length = 384;
  uint32_t doc_stride = 128;  ///< how far the next window begins after this one, in tokens
  uint32_t max_query_length = 64;
  bool training = false;  ///< find the answer's positions; exactly one answer a question
};

/// [CLS] question [SEP] document part [SEP]: one input of the model. T tokens, D of the document. A
/// view into a WindowSet.
struct Window {
  uint32_t example = 0;          ///< index into Dataset::examples
  uint32_t index = 0;            ///< of this window within its question
  std::span<const int32_t> ids;  ///< [T]
  uint32_t document_begin =
      0;  ///< position of the first document token; tokens before have segment 0
  std::span<const uint32_t>
      words;  ///< [D]: whitespace word of the context each document token is of
  std::span<const uint8_t>
      max_context;  ///< [D]: 1 where this window gives the token the most context
  int32_t start =
      -1;  ///< positions of the answer; 0, 0 where it is outside this window or there is none;
  int32_t end = -1;  ///< -1 when not training
};

/// What was met on the way, for the user.
struct WindowReport {
  std::vector<std::string> skipped;         ///< ids whose answer text was not found in the context
  std::vector<std::string> empty_contexts;  ///< ids of questions about an empty context: no window
};

/// All windows of a data set, in its order. Owns the memory its Windows view.
class WindowSet {
 public:
  WindowSet();
  ~WindowSet();
  WindowSet(WindowSet&&) noexcept;
  WindowSet& operator=(WindowSet&&) noexcept;

  size_t size() const;
  Window operator[](size_t index) const;
  const WindowReport& report() const;

 private:
  friend WindowSet make_windows(const Dataset&, const Tokenizer&, const WindowOptions&, unsigned);
  struct Storage;
  std::unique_ptr<Storage> storage_;
};

/// Cuts every question of the data set into windows, on `threads` threads. Throws Error (bad_input)
/// when training and a question has not exactly one answer (unless marked impossible, which gives
/// the target 0, 0). Source: Devlin et al.'s run_squad.py, convert_examples_to_features.
WindowSet make_windows(const Dataset& dataset, const Tokenizer& tokenizer,
                       const WindowOptions& options, unsigned threads);

}  // namespace bertrand
