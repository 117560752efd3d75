#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "engine/cpu/attention.h"
#include "engine/cpu/attention_int8.h"
#include "engine/cpu/bf16.h"
#include "engine/cpu/buffers.h"
#include "engine/cpu/int8.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/layout.h"
#include "engine/cpu/packed.h"
#include "engine/cpu/row_gradients.h"
#include "engine/cpu/task_list.h"
#include "engine/engine.h"
#include "model/config.h"
#include "model/packing.h"

namespace bertrand::cpu {

/// A run of tokens that one thread takes through all steps that need no other token.
struct Block {
  size_t index;  ///< of the block
  size_t begin, end;
  unsigned worker;

  size_t rows() const { return end - begin; }
};

/// BERT with a span head, forward and backward, over the tokens of a packed batch. T tokens, H
/// hidden_size, I intermediate_size. Work goes over the threads in two kinds of steps: blocks of
/// rows, for all that treats tokens one by one, and heads of windows, for attention. Sums over
/// tokens are made per block and joined in order, so results do not depend on which thread did
/// what.
class Network {
 public:
  Network(const BertConfig& config, const Layout& layout, Precision precision, ThreadPool& pool);

  /// Tells that the values of the parameters are others now.
  void parameters_changed() { rounded_weights_fresh_ = false; }

  /// For int8: takes the weights of products from where they are stored, by the layout's
  /// parameters, so that they need not be among `parameters`.
  void round_stored_weights(std::span<const StoredParameter> stored);

  SpanLogits forward(const PackedBatch& batch, const float* parameters);

  /// As Engine::backward. Without accumulate what lies in panels is overwritten; the rest is added
  /// to all the same.
  double backward(const PackedBatch& batch, const SpanTargets& targets, const Dropout& dropout,
                  double weight, const float* parameters, ParameterGradients& gradients,
                  bool accumulate);

  /// forward() that keeps each layer's output: [layers + 1][T * H], the embeddings first. For
  /// tests.
  std::vector<std::vector<float>> hidden_states(const PackedBatch& batch, const float* parameters);

 private:
  /// What one layer computes and backward needs again; without training all layers share one.
  struct Layer {
    Rows<float> qkv;                                      ///< [T, 3H]
    Aligned<float> log_sum_exp;                           ///< [heads, T]
    Operand context;                                      ///< [T, H]
    Rows<float> attention_normalized;                     ///< [T, H], before gamma and beta
    Aligned<float> attention_rstd;                        ///< [T]
    Operand attended;                                     ///< [T, H], LayerNorm(input + attention)
    Rows<float> intermediate;                             ///< [T, I], before GELU, then its slope
    Operand activated;                                    ///< [T, I], after it; see wide_rows
    Rows<float> normalized;                               ///< [T, H]
    Aligned<float> rstd;                                  ///< [T]
    Operand output;                                       ///< [T, H]
    Aligned<uint8_t> attention_kept;                      ///< by head of window, see kept_begins_
    Aligned<uint8_t> attention_output_kept, output_kept;  ///< [T, dropout_bytes(H)]
  };

  /// The gradients of one layer's products on their way down.
  struct Gradients {
    Rows<float> hidden;    ///< [T, H], of the layer's output, then of its input
    Operand ffn;           ///< [T, H], of the second feed-forward product
    Operand intermediate;  ///< [T, I]; its f32 see intermediate_rows
    Operand attention;     ///< [T, H], of attention's output product
    Rows<float> context;   ///< [T, H]
    Operand qkv;           ///< [T, 3H]
  };

  /// A sum over tokens made in pieces: columns `begin..begin + columns` of every block's partial
  /// sums go to the gradients at `target`.
  struct Reduction {
    size_t begin, columns, target;
  };

  /// What the gradient of a weight is made of: columns of dout from `column` on, and the input.
  struct WeightSource {
    const Weight* weight;
    const Operand* dout;
    size_t column;
    const Operand* in;
  };

  /// The dropout keys of one training step; without dropout all thresholds are 0.
  struct LayerDropout {
    DropoutKey attention, attention_output, output;
  };

  struct WorkerScratch {
    AttentionScratch attention;
    Aligned<float> product;
    Aligned<Bf16Pair> bf16_product;
    Aligned<float> mask;  ///< of one row
    Int8Rows int8;
    Int8AttentionScratch int8_attention;
  };

  size_t hidden() const { return static_cast<size_t>(config_.hidden_size); }
  size_t wide() const { return static_cast<size_t>(config_.intermediate_size); }
  size_t heads() const { return static_cast<size_t>(config_.num_attention_heads); }
  size_t head_size() const { return static_cast<size_t>(config_.head_size()); }
  size_t depth() const { return layout_.layers.size(); }

  // network.cpp: what both directions use
  void prepare(const PackedBatch& batch, const float* parameters, const Dropout* dropout);
  void reserve_layer(Layer& layer) const;
  void round_weights();
  void round_weights_to_bf16();
  void round_rows_to_bf16();
  size_t blocks() const { return (tokens_ + block_rows_ - 1) / block_rows_; }
  /// The bodies of loops over blocks(), and over the heads of all windows.
  ThreadPool::Body of_blocks(std::function<void(const Block&)> body);
  ThreadPool::Body of_heads(
      std::function<void(const AttentionHead& head, size_t first_token, WorkerScratch& scratch)>
          body,
      size_t layer);
  void for_each_block(std::function<void(const Block&)> body);
  /// out [rows, n] = in [rows, k] W^T + bias; the library leaves the bias to the step that
  /// follows.
  void linear(const Block& block, const Operand& in, const Weight& weight, float* out,
              size_t out_stride);
  /// din [rows, k] = dout [rows, n] W, or += with accumulate; columns of dout from `column` on.
  void linear_backward(const Block& block, const Operand& dout, size_t column, const Weight& weight,
                       float* din, size_t din_stride, bool accumulate);
  const float* bias_still_to_add(const Weight& weight) const {
    return library_ ? parameters_ + weight.bias : nullptr;
  }
  /// Rounds columns that were written as f32 alone, where products are to be of bf16.
  void round_rows(size_t begin, size_t end, size_t column, size_t columns, Operand& rows) const;
  /// Turns the weights of a layer round for linear_backward.
  void transpose_weights(TaskList& tasks, const std::vector<Weight>& weights);
  /// The mask of a row, null without dropout; forward makes it and keeps its bits [T,
  /// dropout_bytes(H)], from which backward makes it again.
  const float* mask(const DropoutKey& key, size_t row, unsigned worker, Aligned<uint8_t>& kept);
  const float* mask_again(const DropoutKey& key, size_t row, unsigned worker,
                          const Aligned<uint8_t>& kept);
  Layer& layer(size_t index) { return layers_[training_ ? index : 0]; }
  /// Rows for a block that its worker uses again for the next, which stay in its cache.
  Block worker_rows(const Block& block) const {
    const size_t begin = block.worker * block_rows_;
    return {block.index, begin, begin + block.rows(), block.worker};
  }
  /// The rows of `activated` that belong to a block.
  Block wide_rows(const Block& block) const { return training_ ? block : worker_rows(block); }
  /// The same of the f32 gradient of `intermediate`, which in bf16 nobody needs later.
  Block intermediate_rows(const Block& block) const { return bf16_ ? worker_rows(block) : block; }
  Operand& input(size_t index) {
    return training_ && index > 0 ? layers_[index - 1].output : embedded_;
  }
  Operand& output(size_t index) { return training_ ? layers_[index].output : embedded_; }

  // network_int8.cpp
  void reserve_int8_weights();
  void round_weights_to_int8();

  // forward.cpp
  void run_forward(const std::function<void(size_t layer)>& after_layer);
  void embed(const Block& block);
  void project_qkv(size_t index, const Block& block);
  void attend(size_t index);
  void after_attention(size_t index, const Block& block);
  void score(const Block& block);

  // backward.cpp
  void reserve_gradients();
  double loss_gradient(const PackedBatch& batch, const SpanTargets& targets, double weight);
  void start_backward(const Block& block);
  void ffn_backward(size_t index, const Block& block);
  void attend_backward(TaskList& tasks, size_t index);
  std::vector<Weight> weights_below(size_t index) const;
  void qkv_backward(size_t index, const Block& block);
  void reduce(TaskList& tasks, const std::vector<Reduction>& reductions, float* gradients);
  std::vector<Reduction> layer_reductions(size_t index) const;
  std::vector<Reduction> embedding_reductions() const;

  // weight_gradients.cpp
  std::vector<WeightSource> qkv_sources(size_t index);
  std::vector<WeightSource> row_sources(size_t index);
  void weight_gradients(TaskList& tasks, std::span<const WeightSource> sources,
                        ParameterGradients& gradients, bool accumulate);
  void weight_gradients_in_panels(TaskList& tasks, std::span<const WeightSource> sources,
                                  ParameterGradients& gradients, bool accumulate);
  void weight_gradients_of_library(TaskList& tasks, std::span<const WeightSource> sources,
                                   float* gradients, bool accumulate);

  // embedding_backward.cpp
  void embed_backward(const Block& block);
  void gather_embeddings(TaskList& tasks, ParameterGradients& gradients);

  float* partial(const Block& block) { return partials_.data() + block.index * partial_stride_; }

  const BertConfig& config_;
  const Layout& layout_;
  const bool bf16_;
  const bool int8_;
  const bool library_;  // bf16 products by the library, weights in plain rows
  const Operand::Form kept_, product_only_;
  ThreadPool& pool_;
  std::vector<WorkerScratch> scratch_;

  // of the current call
  bool training_ = false;
  const float* parameters_ = nullptr;
  const PackedBatch* batch_ = nullptr;
  size_t tokens_ = 0;
  size_t block_rows_ = 0;
  std::vector<uint32_t> row_windows_;      // [T]
  std::vector<size_t> windows_by_length_;  // longest first, so that threads end together
  std::vector<size_t> kept_begins_;        // [windows + 1], in bytes: a window's attention dropout
  DropoutKey embedding_dropout_;
  std::vector<LayerDropout> dropout_;

  // weights of one layer, for backward
  Aligned<float> transposed_;
  Aligned<Bf16Pair> bf16_transposed_;
  Aligned<Bf16Pair> bf16_weights_;         // by Weight::rounded
  Aligned<uint16_t> bf16_rows_;            // by Weight::offset, for the library
  std::vector<Int8Weights> int8_weights_;  // by Weight::number
  bool rounded_weights_fresh_ = false;
  Operand embedded_;                  // [T, H]
  Rows<float> embedding_normalized_;  // [T, H]
  Aligned<float> embedding_rstd_;     // [T]
  Aligned<uint8_t> embedding_kept_;   // [T, dropout_bytes(H)]
  std::vector<Layer> layers_;
  SpanLogits logits_;

  Gradients gradients_;
  std::vector<float> start_gradient_, end_gradient_;  // [T]
  Aligned<float> partials_;                           // [blocks, partial_stride_]
  size_t partial_stride_ = 0;
};

}  // namespace bertrand::cpu
