#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/parameters.h"

namespace bertrand {

/// The values BERT begins with before any training: weights normal with mean 0 and standard
/// deviation initializer_range, biases 0, LayerNorm's scales 1. They depend on the seed, the
/// parameter's name and the place in it alone. Source: Devlin et al., arXiv:1810.04805 (there cut
/// off at two standard deviations; here, as in transformers, not).
ParameterReader initial_parameters(const BertConfig& config, uint64_t seed);

/// The same for "bert.pooler.dense.weight" [hidden, hidden] and ".bias" [hidden], by name.
std::map<std::string, std::vector<float>> initial_pooler(const BertConfig& config, uint64_t seed);

}  // namespace bertrand
