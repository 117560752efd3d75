#include "engine/cpu/gradient_sum.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace bertrand::cpu {
namespace {

/// The rows that at least one process touched, rising.
std::vector<size_t> touched_anywhere(const RowGradients& words, size_t rows, ProcessGroup& group) {
  std::vector<float> touched(rows);
  for (const RowGradients::Row& row : words.rows()) {
    touched[row.index] = 1;
  }
  group.sum(touched);
  std::vector<size_t> indices;
  for (size_t row = 0; row < rows; ++row) {
    if (touched[row] != 0) {
      indices.push_back(row);
    }
  }
  return indices;
}

void sum_words(RowGradients& words, size_t rows, ProcessGroup& group) {
  const size_t width = words.width();
  const std::vector<float*> places = words.touch(touched_anywhere(words, rows, group));
  std::vector<float> values(places.size() * width);
  for (size_t i = 0; i < places.size(); ++i) {
    std::copy_n(places[i], width, values.data() + i * width);
  }
  group.sum(values);
  for (size_t i = 0; i < places.size(); ++i) {
    std::copy_n(values.data() + i * width, width, places[i]);
  }
}

}  // namespace

void sum_over_processes(ParameterGradients& gradients, const Layout& layout, ProcessGroup& group) {
  gradients.squares->set_known(false);
  const size_t words_end = layout.word_embeddings + layout.sizes[Layout::kWords];
  const std::span<float> dense(gradients.dense.data(), layout.size);
  // The words' place among the dense ones stays untouched, and so takes no memory.
  for (const std::span<float> part :
       {dense.first(layout.word_embeddings), dense.subspan(words_end)}) {
    if (!part.empty()) {
      group.sum(part);
    }
  }
  sum_words(gradients.words, static_cast<size_t>(layout.parameters[Layout::kWords].shape[0]),
            group);
}

}  // namespace bertrand::cpu
