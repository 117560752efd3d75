#include "engine/cpu/network.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "engine/cpu/packed.h"
#include "engine/cpu/products.h"

namespace bertrand::cpu {
namespace {

/// Each thread gets equally many blocks, in whole strips.
size_t rows_of_a_block(size_t tokens, unsigned threads) {
  const size_t rounds = (tokens + threads * kMostBlockRows - 1) / (threads * kMostBlockRows);
  const size_t blocks = rounds * threads;
  const size_t strip = strip_height();
  return (tokens + blocks * strip - 1) / (blocks * strip) * strip;
}

}  // namespace

Network::Network(const BertConfig& config, const Layout& layout, Precision precision,
                 ThreadPool& pool)
    : config_(config),
      layout_(layout),
      bf16_(precision == Precision::bf16),
      int8_(precision == Precision::int8),
      library_(bf16_ && layout.panel_width == 1),
      kept_(bf16_ ? Operand::Form::both : Operand::Form::f32),
      product_only_(bf16_ ? Operand::Form::bf16 : Operand::Form::f32),
      pool_(pool),
      scratch_(pool.size()) {}

void Network::prepare(const PackedBatch& batch, const float* parameters, const Dropout* dropout) {
  check_batch(batch, config_);
  training_ = dropout != nullptr;
  batch_ = &batch;
  parameters_ = parameters;
  tokens_ = batch.tokens();
  block_rows_ = rows_of_a_block(tokens_, pool_.size());
  row_windows_.resize(tokens_);
  for (size_t window = 0; window < batch.windows(); ++window) {
    std::fill(row_windows_.begin() + batch.offsets[window],
              row_windows_.begin() + batch.offsets[window + 1], static_cast<uint32_t>(window));
  }
  kept_begins_.assign(1, 0);
  for (size_t window = 0; window < batch.windows(); ++window) {
    const size_t length = batch.length(window);
    kept_begins_.push_back(kept_begins_.back() + heads() * length * dropout_bytes(length));
  }
  windows_by_length_.resize(batch.windows());
  std::iota(windows_by_length_.begin(), windows_by_length_.end(), size_t{0});
  std::stable_sort(windows_by_length_.begin(), windows_by_length_.end(),
                   [&](size_t a, size_t b) { return batch.length(a) > batch.length(b); });

  embedded_.reserve(tokens_, hidden(), kept_);
  layers_.resize(std::max(layers_.size(), training_ ? depth() : size_t{1}));
  for (size_t index = 0; index < (training_ ? depth() : 1); ++index) {
    reserve_layer(layers_[index]);
  }
  if (training_) {
    embedding_normalized_.reserve(tokens_, hidden());
    embedding_rstd_.reserve(tokens_);
    embedding_kept_.reserve(tokens_ * dropout_bytes(hidden()));
  }
  logits_.start.resize(tokens_);
  logits_.end.resize(tokens_);
  for (WorkerScratch& scratch : scratch_) {
    if (training_ && bf16_) {
      scratch.bf16_product.reserve(library_ ? 0 : bf16_gradient_scratch(most_gradient_tile().rows));
    } else if (training_) {
      scratch.product.reserve(gradient_scratch(most_gradient_tile().rows));
    }
    if (int8_) {
      scratch.int8.reserve(block_rows_, std::max(hidden(), wide()));
    }
    scratch.mask.reserve(dropout_columns(hidden()));
  }

  const auto key = [&](uint32_t layer, DropoutSite site, double Dropout::*probability) {
    return training_
               ? make_dropout_key(dropout->seed, dropout->step, layer, site, dropout->*probability)
               : DropoutKey();
  };
  embedding_dropout_ = key(0, DropoutSite::embeddings, &Dropout::hidden);
  dropout_.resize(depth());
  for (size_t index = 0; index < depth(); ++index) {
    const auto number = static_cast<uint32_t>(index);
    dropout_[index] = {key(number, DropoutSite::attention, &Dropout::attention),
                       key(number, DropoutSite::attention_output, &Dropout::hidden),
                       key(number, DropoutSite::output, &Dropout::hidden)};
  }
  if (!rounded_weights_fresh_) {
    round_weights();
  }
}

void Network::reserve_layer(Layer& layer) const {
  layer.qkv.reserve(tokens_, 3 * hidden());
  layer.log_sum_exp.reserve(heads() * tokens_);
  layer.context.reserve(tokens_, hidden(), kept_);
  layer.attended.reserve(tokens_, hidden(), kept_);
  if (training_) {
    layer.activated.reserve(tokens_, wide(), product_only_);
    layer.intermediate.reserve(tokens_, wide());
    layer.attention_normalized.reserve(tokens_, hidden());
    layer.attention_rstd.reserve(tokens_);
    layer.normalized.reserve(tokens_, hidden());
    layer.rstd.reserve(tokens_);
    layer.output.reserve(tokens_, hidden(), kept_);
    layer.attention_kept.reserve(kept_begins_.back());
    layer.attention_output_kept.reserve(tokens_ * dropout_bytes(hidden()));
    layer.output_kept.reserve(tokens_ * dropout_bytes(hidden()));
  } else {
    layer.activated.reserve(pool_.size() * block_rows_, wide(), kept_);
  }
}

void Network::round_weights() {
  if (library_) {
    round_rows_to_bf16();
  } else if (bf16_) {
    round_weights_to_bf16();
  }
  if (int8_) {
    round_weights_to_int8();
  }
  rounded_weights_fresh_ = true;
}

void Network::round_weights_to_bf16() {
  struct Panel {
    const Weight* weight;
    size_t column;
  };
  std::vector<Panel> panels;
  for (const LayerLayout& at : layout_.layers) {
    for (const Weight* weight : at.weights()) {
      for (size_t column = 0; column < weight->n; column += kBf16Panel) {
        panels.push_back({weight, column});
      }
    }
  }
  bf16_weights_.reserve(layout_.rounded_size);
  pool_.for_each(panels.size(), [&](size_t index, unsigned) {
    const auto& [weight, column] = panels[index];
    round_panel(weight->k,
                parameters_ + weight->offset + panels_size(weight->k, column, kBf16Panel),
                bf16_weights_.data() + weight->rounded + bf16_panels_size(weight->k, column));
  });
}

void Network::round_rows_to_bf16() {
  bf16_rows_.reserve(layout_.size);
  constexpr size_t kPiece = 1 << 16;
  // Embeddings come first and are looked up, not multiplied.
  const size_t begin = layout_.layers.front().qkv.front().offset;
  const size_t pieces = (layout_.size - begin + kPiece - 1) / kPiece;
  pool_.for_each(pieces, [&](size_t piece, unsigned) {
    const size_t first = begin + piece * kPiece;
    to_bf16(std::min(kPiece, layout_.size - first), parameters_ + first, bf16_rows_.data() + first);
  });
}

ThreadPool::Body Network::of_blocks(std::function<void(const Block&)> body) {
  return [this, body = std::move(body)](size_t index, unsigned worker) {
    const size_t begin = index * block_rows_;
    body({index, begin, std::min(tokens_, begin + block_rows_), worker});
  };
}

void Network::for_each_block(std::function<void(const Block&)> body) {
  pool_.for_each(blocks(), of_blocks(std::move(body)));
}

ThreadPool::Body Network::of_heads(
    std::function<void(const AttentionHead&, size_t, WorkerScratch&)> body, size_t index) {
  return [this, index, body = std::move(body)](size_t task, unsigned worker) {
    Layer& state = layer(index);
    const Rows<float>& qkv = state.qkv;
    const size_t window = windows_by_length_[task / heads()];
    const size_t head = task % heads();
    const auto first = static_cast<size_t>(batch_->offsets[window]);
    const size_t length = batch_->length(window);
    const float* query = qkv.row(first) + head * head_size();
    uint8_t* kept = training_ ? state.attention_kept.data() + kept_begins_[window] +
                                    head * length * dropout_bytes(length)
                              : nullptr;
    body({length, head_size(), query, query + hidden(), query + 2 * hidden(), qkv.stride(),
          dropout_[index].attention, batch_->keys[window], static_cast<uint32_t>(head), kept},
         first, scratch_[worker]);
  };
}

void Network::round_rows(size_t begin, size_t end, size_t column, size_t columns,
                         Operand& rows) const {
  for (size_t row = begin; bf16_ && row < end; ++row) {
    to_bf16(columns, rows.f32.row(row) + column, rows.bf16.row(row) + column);
  }
}

void Network::linear(const Block& block, const Operand& in, const Weight& weight, float* out,
                     size_t out_stride) {
  if (library_) {
    ProductShape shape{block.rows(), weight.n, weight.k};
    shape.transpose_b = true;
    multiply(shape, MatrixBf16{in.bf16.row(block.begin), in.bf16.stride()},
             MatrixBf16{bf16_rows_.data() + weight.offset, weight.k}, out, out_stride);
  } else if (bf16_) {
    multiply(Bf16Product{block.rows(), weight.n, weight.k, in.bf16.row(block.begin),
                         in.bf16.stride(), bf16_weights_.data() + weight.rounded,
                         parameters_ + weight.bias, out, out_stride, /*accumulate=*/false});
  } else if (int8_) {
    Int8Rows& rows = scratch_[block.worker].int8;
    for (size_t row = 0; row < block.rows(); ++row) {
      rows.set_row(row, weight.k, in.f32.row(block.begin + row));
    }
    multiply(Int8Product{block.rows(), &rows, int8_weights_[weight.number].columns(),
                         parameters_ + weight.bias, out, out_stride});
  } else {
    multiply(PackedProduct{block.rows(), weight.n, weight.k, in.f32.row(block.begin),
                           in.f32.stride(), parameters_ + weight.offset, parameters_ + weight.bias,
                           out, out_stride, /*accumulate=*/false});
  }
}

void Network::linear_backward(const Block& block, const Operand& dout, size_t column,
                              const Weight& weight, float* din, size_t din_stride,
                              bool accumulate) {
  if (library_) {
    ProductShape shape{block.rows(), weight.k, weight.n};
    shape.accumulate = accumulate;
    multiply(shape, MatrixBf16{dout.bf16.row(block.begin) + column, dout.bf16.stride()},
             MatrixBf16{bf16_rows_.data() + weight.offset, weight.k}, din, din_stride);
  } else if (bf16_) {
    multiply(Bf16Product{block.rows(), weight.k, weight.n, dout.bf16.row(block.begin) + column,
                         dout.bf16.stride(), bf16_transposed_.data() + weight.transposed,
                         /*bias=*/nullptr, din, din_stride, accumulate});
  } else {
    multiply(PackedProduct{block.rows(), weight.k, weight.n, dout.f32.row(block.begin) + column,
                           dout.f32.stride(), transposed_.data() + weight.transposed,
                           /*bias=*/nullptr, din, din_stride, accumulate});
  }
}

void Network::transpose_weights(TaskList& tasks, const std::vector<Weight>& weights) {
  if (library_) {
    return;  // oneDNN takes them either way round
  }
  if (bf16_) {
    bf16_transposed_.reserve(layout_.transposed_size);
  } else {
    transposed_.reserve(layout_.transposed_size);
  }
  struct Piece {
    Weight weight;
    size_t first_row;
  };
  const size_t rows = layout_.panel_width;
  std::vector<Piece> pieces;
  for (const Weight& weight : weights) {
    for (size_t row = 0; row < weight.k; row += rows) {
      pieces.push_back({weight, row});
    }
  }
  const size_t count = pieces.size();
  tasks.add(count, [this, rows, pieces = std::move(pieces)](size_t index, unsigned) {
    const auto& [weight, row] = pieces[index];
    if (bf16_) {
      round_transposed_panel(
          weight.k, weight.n, parameters_ + weight.offset, row,
          bf16_transposed_.data() + weight.transposed + bf16_panels_size(weight.n, row));
      return;
    }
    transpose_panels(weight.k, weight.n, layout_.panel_width, parameters_ + weight.offset, row,
                     std::min(rows, weight.k - row), transposed_.data() + weight.transposed);
  });
}

const float* Network::mask(const DropoutKey& key, size_t row, unsigned worker,
                           Aligned<uint8_t>& kept) {
  if (key.threshold == 0) {
    return nullptr;
  }
  const uint32_t window = row_windows_[row];
  const auto position = static_cast<uint32_t>(row - static_cast<size_t>(batch_->offsets[window]));
  float* values = scratch_[worker].mask.data();
  dropout_mask(key, batch_->keys[window], position, hidden(), values,
               kept.data() + row * dropout_bytes(hidden()));
  return values;
}

const float* Network::mask_again(const DropoutKey& key, size_t row, unsigned worker,
                                 const Aligned<uint8_t>& kept) {
  if (key.threshold == 0) {
    return nullptr;
  }
  float* values = scratch_[worker].mask.data();
  dropout_mask_again(kept.data() + row * dropout_bytes(hidden()), key.scale, hidden(), values);
  return values;
}

}  // namespace bertrand::cpu
