#include "engine/torch/attention.h"

#include <ATen/ATen.h>
#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

namespace bertrand::plugin {
namespace {

struct Heads {
  at::Tensor query, key, value;
};

at::Tensor plain(const Heads& packed, int64_t heads, int64_t layer, const DeviceBatch& batch,
                 const PassDropout& dropout) {
  const int64_t size = packed.query.size(1) / heads;
  const double scale = 1 / std::sqrt(static_cast<double>(size));
  std::vector<at::Tensor> contexts;
  for (int64_t window = 0; window < batch.windows(); ++window) {
    const int64_t first = batch.offsets[static_cast<size_t>(window)];
    const int64_t length = batch.offsets[static_cast<size_t>(window) + 1] - first;
    const auto of_window = [&](const at::Tensor& rows) {  // [heads, length, size]
      return rows.narrow(0, first, length).view({length, heads, size}).transpose(0, 1);
    };
    const at::Tensor query = of_window(packed.query);
    const at::Tensor scores = at::matmul(query, of_window(packed.key).transpose(1, 2)) * scale;
    at::Tensor probabilities = at::softmax(scores, -1, at::kFloat);
    if (dropout.has_attention_masks()) {
      probabilities =
          probabilities * dropout.attention_mask(batch, window, layer, heads, query.device());
    } else if (dropout.drawn_probability() > 0) {
      probabilities = at::dropout(probabilities, dropout.drawn_probability(), /*train=*/true);
    }
    const at::Tensor context =
        at::matmul(probabilities.to(query.scalar_type()), of_window(packed.value));
    contexts.push_back(context.transpose(0, 1).reshape({length, heads * size}));
  }
  return at::cat(contexts);
}

/// Of one bucket, each [windows, heads, length, size]; `valid` may be undefined.
using BucketAttention = at::Tensor (*)(const Heads& bucket, const at::Tensor& valid, double drawn);

at::Tensor fused(const Heads& bucket, const at::Tensor& valid, double drawn) {
  return valid.defined() ? at::scaled_dot_product_attention(bucket.query, bucket.key, bucket.value,
                                                            valid, drawn)
                         : at::scaled_dot_product_attention(bucket.query, bucket.key, bucket.value,
                                                            /*attn_mask=*/{}, drawn);
}

at::Tensor written_out(const Heads& bucket, const at::Tensor& valid, double drawn) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  const double scale = 1 / std::sqrt(static_cast<double>(bucket.query.size(3)));
  at::Tensor scores = at::matmul(bucket.query, bucket.key.transpose(2, 3)) * scale;
  if (valid.defined()) {
    scores = scores.masked_fill(valid.logical_not(), kNever);
  }
  at::Tensor probabilities = at::softmax(scores, -1, at::kFloat);
  if (drawn > 0) {
    probabilities = at::dropout(probabilities, drawn, /*train=*/true);
  }
  return at::matmul(probabilities.to(bucket.value.scalar_type()), bucket.value);
}

/// The library knows which card it is, and what its kernels take; 0 and less stand for none.
at::Tensor asked(const Heads& bucket, const at::Tensor& valid, double drawn) {
  const int64_t kernel =
      valid.defined()
          ? at::_fused_sdp_choice(bucket.query, bucket.key, bucket.value, valid, drawn)
          : at::_fused_sdp_choice(bucket.query, bucket.key, bucket.value, /*attn_mask=*/{}, drawn);
  return (kernel > 0 ? fused : written_out)(bucket, valid, drawn);
}

at::Tensor padded(BucketAttention attend, const Heads& packed, int64_t heads,
                  const DeviceBatch& batch, const PassDropout& dropout) {
  const int64_t hidden = packed.query.size(1);
  std::vector<at::Tensor> contexts;
  for (const Bucket& bucket : batch.buckets) {
    const auto of_bucket = [&](const at::Tensor& rows) {
      return rows.index_select(0, bucket.rows)
          .view({bucket.windows, bucket.length, heads, hidden / heads})
          .transpose(1, 2);
    };
    const at::Tensor context =
        attend({of_bucket(packed.query), of_bucket(packed.key), of_bucket(packed.value)},
               bucket.valid, dropout.drawn_probability());
    contexts.push_back(context.transpose(1, 2).reshape({-1, hidden}));
  }
  return at::cat(contexts).index_select(0, batch.bucket_rows);
}

at::Tensor over_packed(const Heads& packed, int64_t heads, const DeviceBatch& batch,
                       const PassDropout& dropout) {
  const auto split = [&](const at::Tensor& rows) {  // [T, heads, size]
    return rows.reshape({rows.size(0), heads, rows.size(1) / heads});
  };
  const at::Tensor context = std::get<0>(at::_flash_attention_forward(
      split(packed.query), split(packed.key), split(packed.value), batch.begins, batch.begins,
      batch.longest, batch.longest, dropout.drawn_probability(), /*is_causal=*/false,
      /*return_debug_mask=*/false));
  return context.reshape(packed.query.sizes());
}

}  // namespace

at::Tensor attention(AttentionKind kind, const at::Tensor& query, const at::Tensor& key,
                     const at::Tensor& value, int64_t heads, int64_t layer,
                     const DeviceBatch& batch, const PassDropout& dropout) {
  const Heads packed{query, key, value};
  switch (kind) {
    case AttentionKind::padded:
      return padded(fused, packed, heads, batch, dropout);
    case AttentionKind::padded_plain:
      return padded(written_out, packed, heads, batch, dropout);
    case AttentionKind::padded_asked:
      return padded(asked, packed, heads, batch, dropout);
    case AttentionKind::packed:
      return over_packed(packed, heads, batch, dropout);
    default:
      return plain(packed, heads, layer, batch, dropout);
  }
}

}  // namespace bertrand::plugin
