#include "engine/cpu/attention.h"

#include <tuple>

#include <gtest/gtest.h>

#include "oracle.h"

namespace bertrand::test {
namespace {

/// Query, key and value of one head, [length, size] each, inside wider rows as in the engine.
struct Case {
  size_t length, size, stride;
  std::vector<float> rows;
  cpu::AttentionHead head{};
  Doubles query, key, value, mask;
  std::vector<uint8_t> kept;

  Case(size_t tokens, size_t head_size, double dropout)
      : length(tokens), size(head_size), stride(3 * head_size + 5) {
    rows = random_floats(length * stride, 1);
    const float* first = rows.data();
    head = {length,
            size,
            first,
            first + size,
            first + 2 * size,
            stride,
            make_dropout_key(1, 2, 3, DropoutSite::attention, dropout),
            /*window=*/9,
            /*head=*/2,
            /*kept=*/nullptr};
    kept.resize(length * cpu::dropout_bytes(length));
    head.kept = kept.data();
    query = part(0);
    key = part(1);
    value = part(2);
    std::vector<float> row_mask(length + kDropoutGroup, 1.0F);
    for (uint32_t row = 0; row < length; ++row) {
      if (dropout > 0) {
        cpu::dropout_mask(head.dropout, head.window, row | (head.head << 16U), length,
                          row_mask.data());
      }
      mask.insert(mask.end(), row_mask.begin(),
                  row_mask.begin() + static_cast<std::ptrdiff_t>(length));
    }
  }

  Doubles part(size_t which) const {
    Doubles taken;
    for (size_t row = 0; row < length; ++row) {
      for (size_t d = 0; d < size; ++d) {
        taken.push_back(static_cast<double>(rows[row * stride + which * size + d]));
      }
    }
    return taken;
  }

  Doubles oracle() const { return attention_oracle(length, size, query, key, value, mask); }
};

class Attention : public testing::TestWithParam<std::tuple<size_t, size_t, double>> {};

TEST_P(Attention, ForwardIsTheFormula) {
  const auto [size, length, dropout] = GetParam();
  const Case c(length, size, dropout);
  cpu::AttentionScratch scratch;
  std::vector<float> context(length * size);
  std::vector<float> log_sums(length);
  cpu::attention_forward(c.head, scratch, context.data(), size, log_sums.data());
  const Doubles expected = c.oracle();
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(static_cast<double>(context[i]), expected[i], 2e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Attention,
                         testing::Combine(testing::Values(size_t{1}, size_t{5}, size_t{16},
                                                          size_t{27}, size_t{32}, size_t{64}),
                                          testing::Values(size_t{1}, size_t{2}, size_t{17},
                                                          size_t{48}, size_t{49}, size_t{129},
                                                          size_t{250}, size_t{512}),
                                          testing::Values(0.0, 0.2)));

class AttentionBackward : public testing::TestWithParam<std::tuple<size_t, size_t, double>> {};

TEST_P(AttentionBackward, IsTheSlopeOfTheFormula) {
  const auto [size, length, dropout] = GetParam();
  Case c(length, size, dropout);
  cpu::AttentionScratch scratch;
  std::vector<float> context(length * size);
  std::vector<float> log_sums(length);
  cpu::attention_forward(c.head, scratch, context.data(), size, log_sums.data());
  const auto dcontext = random_floats(length * size, 2);
  std::vector<float> gradients(length * c.stride);
  cpu::attention_backward(c.head, scratch,
                          {context.data(), dcontext.data(), size, log_sums.data(), gradients.data(),
                           gradients.data() + size, gradients.data() + 2 * size, c.stride});
  const auto loss = [&] {
    const Doubles result = c.oracle();
    double sum = 0;
    for (size_t i = 0; i < result.size(); ++i) {
      sum += result[i] * static_cast<double>(dcontext[i]);
    }
    return sum;
  };
  Doubles* const inputs[] = {&c.query, &c.key, &c.value};
  // Some elements of each, in all columns; fewer where the oracle takes long.
  const size_t step = (length * size / (length > 128 ? 10 : 40)) | 1;
  for (size_t which = 0; which < 3; ++which) {
    for (size_t i = 0; i < length * size; i += step) {
      const float got = gradients[i / size * c.stride + which * size + i % size];
      ASSERT_NEAR(static_cast<double>(got), slope(loss, (*inputs[which])[i]), 1e-4)
          << "input " << which << " element " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, AttentionBackward,
    testing::Combine(testing::Values(size_t{1}, size_t{7}, size_t{16}, size_t{32}, size_t{64}),
                     testing::Values(size_t{1}, size_t{2}, size_t{19}, size_t{48}, size_t{65}),
                     testing::Values(0.0, 0.2)));

/// The lengths of real windows: many blocks of rows and columns. 256 and 512 floats are whole KB.
INSTANTIATE_TEST_SUITE_P(LongWindows, AttentionBackward,
                         testing::Combine(testing::Values(size_t{32}),
                                          testing::Values(size_t{250}, size_t{384}, size_t{512}),
                                          testing::Values(0.0, 0.2)));

/// The same of a head.
INSTANTIATE_TEST_SUITE_P(WideHeads, Attention,
                         testing::Combine(testing::Values(size_t{256}), testing::Values(size_t{50}),
                                          testing::Values(0.0, 0.2)));
INSTANTIATE_TEST_SUITE_P(WideHeads, AttentionBackward,
                         testing::Combine(testing::Values(size_t{256}), testing::Values(size_t{50}),
                                          testing::Values(0.0, 0.2)));

}  // namespace
}  // namespace bertrand::test
