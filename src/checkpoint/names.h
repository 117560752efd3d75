#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bertrand {

/// What a tensor of a checkpoint is to us.
enum class Place {
  model,   ///< the encoder or the span head: a parameter, see model/parameters.h
  pooler,  ///< bert.pooler.dense
  head,    ///< another head: cls.* of pre-training, classifier.*
  buffer,  ///< a table that holds no weights (position_ids)
};

struct ModelName {
  std::string name;  ///< Hugging Face's: "bert.encoder.layer.0.attention.self.query.weight"
  Place place = Place::model;
  bool transposed = false;  ///< stored [in, out], as TensorFlow's kernels are
};

/// The name in Hugging Face's way of a tensor as any of these calls it: Google's TensorFlow
/// releases, pytorch-pretrained-bert (gamma, beta), NVIDIA's DeepLearningExamples (dense_act),
/// Hugging Face with and without "bert."; all also after "module.", "model." and "_orig_mod.",
/// which those programs put before them that wrap a model. Empty where it has no place in a BERT.
std::optional<ModelName> model_name(std::string_view stored);

/// The rows that a table of `size` rows has once padded to a multiple of 8, 64 or 128, as
/// NVIDIA's programs do for the word embeddings; whether `rows` is one of these.
bool is_padded(int64_t rows, int64_t size);

}  // namespace bertrand
