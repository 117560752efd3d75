#pragma once

#include <cstddef>

namespace bertrand::cpu {

/// Where the sums over the tokens of a block stand among its partial sums.
struct PartialLayout {
  explicit PartialLayout(size_t hidden, size_t wide)
      : gamma(0),
        beta(hidden),
        ffn_bias(2 * hidden),
        attention_gamma(3 * hidden),
        attention_beta(4 * hidden),
        output_bias(5 * hidden),
        intermediate_bias(6 * hidden),
        qkv_bias(6 * hidden + wide),
        ends(9 * hidden + wide),
        size(13 * hidden + wide + 2) {}

  size_t gamma, beta, ffn_bias, attention_gamma, attention_beta, output_bias, intermediate_bias;
  size_t qkv_bias;
  size_t ends;  // of the head [2H + 2], later of the embeddings [4H]
  size_t size;
};

}  // namespace bertrand::cpu
