#include <algorithm>
#include <numeric>
#include <utility>

#include "engine/cpu/network.h"
#include "engine/cpu/partial_sums.h"

namespace bertrand::cpu {
namespace {

/// Token rows that share a key (a word, a position), in order: begins[g] .. begins[g + 1] of rows
/// have keys[g].
struct RowGroups {
  std::vector<uint32_t> rows;
  std::vector<size_t> begins;
  std::vector<size_t> keys;
};

RowGroups group_rows(std::span<const int32_t> keys) {
  RowGroups groups;
  groups.rows.resize(keys.size());
  std::iota(groups.rows.begin(), groups.rows.end(), 0U);
  std::stable_sort(groups.rows.begin(), groups.rows.end(),
                   [&](uint32_t a, uint32_t b) { return keys[a] < keys[b]; });
  for (size_t i = 0; i < keys.size(); ++i) {
    if (i == 0 || keys[groups.rows[i]] != keys[groups.rows[i - 1]]) {
      groups.begins.push_back(i);
      groups.keys.push_back(static_cast<size_t>(keys[groups.rows[i]]));
    }
  }
  groups.begins.push_back(keys.size());
  return groups;
}

}  // namespace

void Network::embed_backward(const Block& block) {
  float* sums = partial(block) + PartialLayout(hidden(), wide()).ends;
  std::fill_n(sums, 4 * hidden(), 0.0F);
  for (size_t row = block.begin; row < block.end; ++row) {
    float* dy = gradients_.hidden.row(row);
    if (const float* factors = mask_again(embedding_dropout_, row, block.worker, embedding_kept_)) {
      multiply_in_place(hidden(), factors, dy);
    }
    layer_norm_backward(hidden(), dy, embedding_normalized_.row(row), embedding_rstd_.data()[row],
                        parameters_ + layout_.gamma, dy, sums, sums + hidden());
    const auto segment = static_cast<size_t>(batch_->segments[row]);
    add(hidden(), dy, sums + (2 + segment) * hidden());
  }
}

/// Adds each token's gradient to its word and its position; the tokens of one word in their order.
void Network::gather_embeddings(TaskList& tasks, ParameterGradients& gradients) {
  std::vector<int32_t> positions(tokens_);
  for (size_t row = 0; row < tokens_; ++row) {
    positions[row] = static_cast<int32_t>(row) - batch_->offsets[row_windows_[row]];
  }
  const auto gather = [&](RowGroups groups, std::vector<float*> targets) {
    constexpr size_t kGroupsATask = 32;
    const size_t all = targets.size();
    const auto body = [this, all, groups = std::move(groups), targets = std::move(targets)](
                          size_t task, unsigned) {
      const size_t last = std::min(all, (task + 1) * kGroupsATask);
      for (size_t group = task * kGroupsATask; group < last; ++group) {
        for (size_t i = groups.begins[group]; i < groups.begins[group + 1]; ++i) {
          add(hidden(), gradients_.hidden.row(groups.rows[i]), targets[group]);
        }
      }
    };
    tasks.add((all + kGroupsATask - 1) / kGroupsATask, body);
  };
  RowGroups words = group_rows(batch_->ids);
  std::vector<float*> word_rows = gradients.words.touch(words.keys);
  gather(std::move(words), std::move(word_rows));
  RowGroups places = group_rows(positions);
  std::vector<float*> rows;
  for (const size_t position : places.keys) {
    rows.push_back(gradients.dense.data() + layout_.position_embeddings + position * hidden());
  }
  gather(std::move(places), std::move(rows));
}

}  // namespace bertrand::cpu
