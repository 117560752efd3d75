#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "engine/cpu/layout.h"
#include "model/parameters.h"

namespace bertrand::cpu {

/// Whole rows of one parameter, which one thread reads at once. A vector is one row.
struct ParameterStrip {
  size_t parameter;  ///< its index
  size_t first_row, rows;
  size_t columns;
};

/// All parameters cut into strips of at most `rows` rows.
std::vector<ParameterStrip> cut_into_strips(const std::vector<ParameterInfo>& parameters,
                                            size_t rows);

/// Parameters that come into the array of a Layout from where they are stored: the embedding of a
/// word when it is first needed, because a question needs few of the many, everything else at once,
/// on all threads.
class StoredParameters {
 public:
  StoredParameters(const Layout& layout, ThreadPool& pool) : layout_(layout), pool_(pool) {}

  /// Forgets what was open, then reads into `array`, which may hold anything, all but the words
  /// and, unless `with_weights`, the weights of products.
  void open(const ParameterStore& stored, bool with_weights, float* array);
  void close();
  bool is_open() const { return !parameters_.empty(); }

  /// While open: each as it is stored, in the order of the layout.
  const std::vector<StoredParameter>& parameters() const { return parameters_; }

  /// Reads the embeddings of words that are not in `array` yet. Ids beyond the vocabulary are left
  /// to others to complain of.
  void need_words(std::span<const int32_t> ids, float* array);

  /// Reads all words into `array` and closes: from now on the array is what counts.
  void take_over(float* array);

 private:
  const Layout& layout_;
  ThreadPool& pool_;
  std::vector<StoredParameter> parameters_;
  std::vector<uint8_t> has_word_;
};

}  // namespace bertrand::cpu
