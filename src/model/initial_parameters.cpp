#include "model/initial_parameters.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string_view>

#include "base/random.h"

namespace bertrand {
namespace {

/// FNV-1a; tells the parameters' streams of random numbers apart.
uint64_t hash(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  return hash;
}

/// Two independent normal numbers by the transform of Box and Muller (1958).
std::array<double, 2> normal_pair(uint64_t index, uint64_t stream, Philox::Key key) {
  const auto bits =
      Philox::generate({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                        static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)},
                       key);
  // In (0, 1], so that the logarithm is finite.
  const double radius = std::sqrt(-2 * std::log((bits[0] + 1.0) * 0x1p-32));
  const double angle = 2 * std::numbers::pi * (bits[1] * 0x1p-32);
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

void fill_normal(std::span<float> values, double deviation, uint64_t stream, uint64_t seed) {
  const Philox::Key key = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  for (size_t i = 0; i < values.size(); i += 2) {
    const auto pair = normal_pair(i / 2, stream, key);
    values[i] = static_cast<float>(deviation * pair[0]);
    if (i + 1 < values.size()) {
      values[i + 1] = static_cast<float>(deviation * pair[1]);
    }
  }
}

}  // namespace

ParameterReader initial_parameters(const BertConfig& config, uint64_t seed) {
  return [deviation = config.initializer_range, seed](const ParameterInfo& info,
                                                      std::span<float> values) {
    if (info.name.ends_with("LayerNorm.weight")) {
      std::fill(values.begin(), values.end(), 1.0F);
    } else if (info.name.ends_with(".bias")) {
      std::fill(values.begin(), values.end(), 0.0F);
    } else {
      fill_normal(values, deviation, hash(info.name), seed);
    }
  };
}

std::map<std::string, std::vector<float>> initial_pooler(const BertConfig& config, uint64_t seed) {
  std::map<std::string, std::vector<float>> pooler;
  const ParameterReader initial = initial_parameters(config, seed);
  for (const ParameterInfo& info :
       {ParameterInfo{"bert.pooler.dense.weight", {config.hidden_size, config.hidden_size}},
        ParameterInfo{"bert.pooler.dense.bias", {config.hidden_size}}}) {
    std::vector<float>& values = pooler[info.name];
    values.resize(static_cast<size_t>(info.size()));
    initial(info, values);
  }
  return pooler;
}

}  // namespace bertrand
