#pragma once

// Slow, plain versions of what the engine does, in f64, to compare with. Formulas as in the
// engine's headers.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numbers>
#include <random>
#include <string>
#include <vector>

#include "engine/cpu/kernels.h"
#include "engine/engine.h"
#include "model/packing.h"
#include "model/parameters.h"

namespace bertrand::test {

using Doubles = std::vector<double>;

inline double gelu_oracle(double x, bool tanh_form) {
  if (tanh_form) {
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
  }
  return 0.5 * x * (1 + std::erf(x / std::numbers::sqrt2));
}

/// (s - mean) / sqrt(variance + epsilon) * gamma + beta.
inline Doubles layer_norm_oracle(const Doubles& s, const Doubles& gamma, const Doubles& beta,
                                 double epsilon) {
  const auto count = static_cast<double>(s.size());
  double mean = 0;
  for (const double value : s) {
    mean += value / count;
  }
  double variance = 0;
  for (const double value : s) {
    variance += (value - mean) * (value - mean) / count;
  }
  Doubles y(s.size());
  for (size_t i = 0; i < s.size(); ++i) {
    y[i] = (s[i] - mean) / std::sqrt(variance + epsilon) * gamma[i] + beta[i];
  }
  return y;
}

/// context [length, size] of one head; mask [length, length] multiplies the probabilities.
inline Doubles attention_oracle(size_t length, size_t size, const Doubles& query,
                                const Doubles& key, const Doubles& value, const Doubles& mask) {
  Doubles context(length * size);
  for (size_t i = 0; i < length; ++i) {
    Doubles scores(length);
    double most = -1e300;
    for (size_t j = 0; j < length; ++j) {
      for (size_t d = 0; d < size; ++d) {
        scores[j] += query[i * size + d] * key[j * size + d];
      }
      scores[j] /= std::sqrt(static_cast<double>(size));
      most = std::max(most, scores[j]);
    }
    double sum = 0;
    for (double& score : scores) {
      score = std::exp(score - most);
      sum += score;
    }
    for (size_t j = 0; j < length; ++j) {
      for (size_t d = 0; d < size; ++d) {
        context[i * size + d] += scores[j] / sum * mask[i * length + j] * value[j * size + d];
      }
    }
  }
  return context;
}

/// BERT with its span head, a window at a time, dropout masks by the engine's key scheme.
class NetworkOracle {
 public:
  NetworkOracle(BertConfig config, const Engine& engine) : config_(config) {
    engine.store_parameters([&](const ParameterInfo& info, std::span<const float> values) {
      parameters[info.name] = Doubles(values.begin(), values.end());
    });
  }

  std::map<std::string, Doubles> parameters;

  /// The loss as Engine::backward returns it; logits of all tokens on the way.
  double loss(const PackedBatch& batch, const SpanTargets& targets, const Dropout& dropout,
              Doubles* start_logits = nullptr, Doubles* end_logits = nullptr) const {
    double sum = 0;
    for (size_t window = 0; window < batch.windows(); ++window) {
      const Doubles last = encode(batch, window, dropout);
      const size_t length = batch.length(window);
      const size_t hidden = static_cast<size_t>(config_.hidden_size);
      for (const size_t side : {0U, 1U}) {
        Doubles logits(length);
        for (size_t i = 0; i < length; ++i) {
          logits[i] = at("qa_outputs.bias")[side];
          for (size_t d = 0; d < hidden; ++d) {
            logits[i] += last[i * hidden + d] * at("qa_outputs.weight")[side * hidden + d];
          }
        }
        double total = 0;
        for (const double logit : logits) {
          total += std::exp(logit);
        }
        const int32_t target = side == 0 ? targets.start[window] : targets.end[window];
        sum += (std::log(total) - logits[static_cast<size_t>(target)]) / 2;
        Doubles* keep = side == 0 ? start_logits : end_logits;
        if (keep != nullptr) {
          keep->insert(keep->end(), logits.begin(), logits.end());
        }
      }
    }
    return sum;
  }

 private:
  const Doubles& at(const std::string& name) const { return parameters.at(name); }

  /// x [rows, in] W^T + b of the linear layer `name`.
  Doubles linear(const std::string& name, const Doubles& x, size_t in, size_t out) const {
    const Doubles& weight = at(name + ".weight");
    const Doubles& bias = at(name + ".bias");
    Doubles y(x.size() / in * out);
    for (size_t row = 0; row < x.size() / in; ++row) {
      for (size_t o = 0; o < out; ++o) {
        y[row * out + o] = bias[o];
        for (size_t i = 0; i < in; ++i) {
          y[row * out + o] += x[row * in + i] * weight[o * in + i];
        }
      }
    }
    return y;
  }

  Doubles norm_rows(const std::string& name, const Doubles& x) const {
    const auto hidden = static_cast<size_t>(config_.hidden_size);
    Doubles y;
    for (size_t row = 0; row < x.size() / hidden; ++row) {
      const Doubles one(x.begin() + static_cast<std::ptrdiff_t>(row * hidden),
                        x.begin() + static_cast<std::ptrdiff_t>((row + 1) * hidden));
      const Doubles normalized =
          layer_norm_oracle(one, at(name + ".weight"), at(name + ".bias"), config_.layer_norm_eps);
      y.insert(y.end(), normalized.begin(), normalized.end());
    }
    return y;
  }

  static Doubles mask(const DropoutKey& key, uint64_t window, uint32_t place, size_t columns) {
    if (key.threshold == 0) {
      return Doubles(columns, 1);
    }
    std::vector<float> values(columns + kDropoutGroup);
    cpu::dropout_mask(key, window, place, columns, values.data());
    return {values.begin(), values.begin() + static_cast<std::ptrdiff_t>(columns)};
  }

  void drop_rows(const Dropout& dropout, uint32_t layer, DropoutSite site, uint64_t window,
                 Doubles& x) const {
    const auto hidden = static_cast<size_t>(config_.hidden_size);
    const auto key = make_dropout_key(dropout.seed, dropout.step, layer, site, dropout.hidden);
    for (size_t row = 0; row < x.size() / hidden; ++row) {
      const Doubles factors = mask(key, window, static_cast<uint32_t>(row), hidden);
      for (size_t i = 0; i < hidden; ++i) {
        x[row * hidden + i] *= factors[i];
      }
    }
  }

  Doubles attend(const std::string& name, uint32_t layer, const Doubles& x, uint64_t window,
                 const Dropout& dropout) const {
    const auto hidden = static_cast<size_t>(config_.hidden_size);
    const auto size = static_cast<size_t>(config_.head_size());
    const size_t length = x.size() / hidden;
    const auto key = make_dropout_key(dropout.seed, dropout.step, layer, DropoutSite::attention,
                                      dropout.attention);
    const Doubles query = linear(name + "query", x, hidden, hidden);
    const Doubles keys = linear(name + "key", x, hidden, hidden);
    const Doubles value = linear(name + "value", x, hidden, hidden);
    Doubles context(x.size());
    for (uint32_t head = 0; head < hidden / size; ++head) {
      const auto part = [&](const Doubles& rows) {
        Doubles taken;
        for (size_t row = 0; row < length; ++row) {
          for (size_t d = 0; d < size; ++d) {
            taken.push_back(rows[row * hidden + head * size + d]);
          }
        }
        return taken;
      };
      Doubles factors;
      for (uint32_t row = 0; row < length; ++row) {
        const Doubles one = mask(key, window, row | (head << 16U), length);
        factors.insert(factors.end(), one.begin(), one.end());
      }
      const Doubles mine =
          attention_oracle(length, size, part(query), part(keys), part(value), factors);
      for (size_t row = 0; row < length; ++row) {
        for (size_t d = 0; d < size; ++d) {
          context[row * hidden + head * size + d] = mine[row * size + d];
        }
      }
    }
    return context;
  }

  Doubles encode(const PackedBatch& batch, size_t window, const Dropout& dropout) const {
    const auto hidden = static_cast<size_t>(config_.hidden_size);
    const auto wide = static_cast<size_t>(config_.intermediate_size);
    const uint64_t key = batch.keys[window];
    Doubles x;
    for (size_t i = 0; i < batch.length(window); ++i) {
      const size_t token = static_cast<size_t>(batch.offsets[window]) + i;
      for (size_t d = 0; d < hidden; ++d) {
        x.push_back(at("bert.embeddings.word_embeddings.weight")
                        [static_cast<size_t>(batch.ids[token]) * hidden + d] +
                    at("bert.embeddings.position_embeddings.weight")[i * hidden + d] +
                    at("bert.embeddings.token_type_embeddings.weight")
                        [static_cast<size_t>(batch.segments[token]) * hidden + d]);
      }
    }
    x = norm_rows("bert.embeddings.LayerNorm", x);
    drop_rows(dropout, 0, DropoutSite::embeddings, key, x);
    for (uint32_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
      const std::string prefix = "bert.encoder.layer." + std::to_string(layer) + ".";
      const auto add_to = [](Doubles& sum, const Doubles& other) {
        for (size_t i = 0; i < sum.size(); ++i) {
          sum[i] += other[i];
        }
      };
      const Doubles context = attend(prefix + "attention.self.", layer, x, key, dropout);
      Doubles y = linear(prefix + "attention.output.dense", context, hidden, hidden);
      drop_rows(dropout, layer, DropoutSite::attention_output, key, y);
      add_to(y, x);
      x = norm_rows(prefix + "attention.output.LayerNorm", y);
      Doubles middle = linear(prefix + "intermediate.dense", x, hidden, wide);
      for (double& value : middle) {
        value = gelu_oracle(value, config_.hidden_act == Activation::gelu_tanh);
      }
      y = linear(prefix + "output.dense", middle, wide, hidden);
      drop_rows(dropout, layer, DropoutSite::output, key, y);
      add_to(y, x);
      x = norm_rows(prefix + "output.LayerNorm", y);
    }
    return x;
  }

  BertConfig config_;
};

/// Reproducible values, normal with the given deviation.
inline std::vector<float> random_floats(size_t count, uint32_t seed, float deviation = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> values(count);
  for (float& value : values) {
    value = normal(generator);
  }
  return values;
}

inline Doubles widen(const std::vector<float>& values) { return {values.begin(), values.end()}; }

/// The slope of f at x by a central difference, exact to h^4 terms in f64.
template <typename Function>
double slope(const Function& f, double& x, double h = 1e-4) {
  const double before = x;
  const auto at = [&](double shift) {
    x = before + shift;
    return f();
  };
  const double result = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
  x = before;
  return result;
}

}  // namespace bertrand::test
