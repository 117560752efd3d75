#pragma once

/// The border between the program and the plug-in libbertrand_torch.so, in types of C: the two may
/// be built by compilers, or with C++ ABIs, that know nothing of each other. No C++ type, exception
/// or memory to be freed crosses it.
///
/// Every structure that the program fills begins with its own size, and the table with its version
/// and size: later versions may append members. A smaller size says that the last ones are not
/// there; the plug-in then takes them as zero. A member that changes its meaning raises
/// kBertrandTorchVersion.
///
/// Functions return a BertrandTorchStatus; the sentence of what went wrong is then to be had from
/// last_error() in the same thread, until the next call. Arrays are row-major, strings end with a
/// zero and are UTF-8. An engine and a group are used by one thread at a time.

#include <cstddef>
#include <cstdint>

extern "C" {

constexpr uint32_t kBertrandTorchVersion = 1;

enum BertrandTorchStatus : int32_t {
  bertrand_torch_ok = 0,
  bertrand_torch_failed = 1,   ///< while running
  bertrand_torch_usage = 2,    ///< what was asked for cannot be had: an unknown device, a precision
  bertrand_torch_stopped = 3,  ///< a callback asked for it
  bertrand_torch_elsewhere = 4,  ///< another process of the group does not answer any more
};

struct BertrandTorchEngine;
struct BertrandTorchGroup;

/// BertConfig.
struct BertrandTorchConfig {
  size_t size;
  int64_t hidden_size, layers, heads, intermediate_size;
  int64_t vocabulary, positions, segments;
  double layer_norm_epsilon;
  int32_t tanh_gelu;  ///< 0: GELU by erf
};

enum BertrandTorchPrecision : int32_t {
  bertrand_torch_fp32 = 0,
  bertrand_torch_tf32 = 1,
  bertrand_torch_bf16 = 2,
  bertrand_torch_fp16 = 3,
};

struct BertrandTorchOptions {
  size_t size;
  const char* device;     ///< "cpu", "cuda", "cuda:1", "mlu:0"
  const char* library;    ///< of a device that LibTorch does not bring itself, or null: look for it
  int32_t precision;      ///< BertrandTorchPrecision
  int32_t example_masks;  ///< 1: dropout masks as the native engine's; 0: by the device's generator
  uint32_t threads;       ///< of the CPU; 0: as it is
};

/// Name and shape of a parameter, as bert_parameters() gives them.
struct BertrandTorchParameter {
  const char* name;
  const int64_t* shape;
  size_t dimensions;
  int32_t decays;  ///< weight decay applies
};

/// Fills, or takes, the `count` values of parameter `index` of those the engine was made with.
/// Returns 0, or another number to stop.
using BertrandTorchRead = int32_t (*)(void* context, size_t index, float* values, size_t count);
using BertrandTorchWrite = int32_t (*)(void* context, size_t index, const float* values,
                                       size_t count);

/// Of each parameter there are so many tensors.
enum BertrandTorchKind : int32_t {
  bertrand_torch_weights = 0,
  bertrand_torch_gradients = 1,  ///< summed since the last step
  bertrand_torch_first_moments = 2,
  bertrand_torch_second_moments = 3,
};

/// PackedBatch, and SpanTargets where it is trained on.
struct BertrandTorchBatch {
  size_t size;
  size_t windows, tokens;
  const int32_t* ids;       ///< [tokens]
  const int32_t* segments;  ///< [tokens]
  const int32_t* offsets;   ///< [windows + 1]
  const uint64_t* keys;     ///< [windows]
  const int32_t* start;     ///< [windows], or null
  const int32_t* end;       ///< [windows], or null
};

/// Dropout.
struct BertrandTorchDropout {
  size_t size;
  uint64_t seed, step;
  double hidden, attention;  ///< probabilities
};

enum BertrandTorchClip : int32_t {
  bertrand_torch_clip_none = 0,
  bertrand_torch_clip_global = 1,
  bertrand_torch_clip_per_parameter = 2,
};

/// OptimizerSettings.
struct BertrandTorchOptimizer {
  size_t size;
  int32_t bias_correction;  ///< 1 AdamW, 0 BertAdam
  int32_t clip;             ///< BertrandTorchClip
  double beta1, beta2, epsilon, weight_decay, max_gradient_norm;
};

/// StepReport.
struct BertrandTorchReport {
  size_t size;
  double gradient_norm;
  int32_t repeat;
};

struct BertrandTorchScaling {
  size_t size;
  double scale;  ///< 0: losses are not scaled
  uint64_t good_steps;
};

/// The processes of a run, and how they find each other.
struct BertrandTorchGroupOptions {
  size_t size;
  const char* backend;  ///< "gloo", "nccl", "cncl"
  const char* device;   ///< the one this process computes on; nccl and cncl sum there
  const char* library;  ///< as in BertrandTorchOptions
  const char* address;  ///< of the process that holds the common store
  uint16_t port;
  uint32_t rank, count;
  int32_t serves_store;     ///< 1: this process opens the store at `address`, others come to it
  const char* prefix;       ///< of this run's names in the store, where others use it, too; or null
  double timeout;           ///< seconds a process waits for the others
  const char* own_address;  ///< this machine's in the network to go by, or null; appended
};

struct BertrandTorchTable {
  uint32_t version;
  size_t size;
  const char* torch_version;  ///< "2.15.0"
  const char* backends;       ///< of groups, with a comma between: "gloo,nccl"

  const char* (*last_error)(void);

  /// How many such devices there are; type is "cpu", "cuda" or "mlu". `has_bf16` says whether the
  /// first multiplies bf16; either may be null.
  int32_t (*count_devices)(const char* type, const char* library, uint32_t* count,
                           int32_t* has_bf16);

  int32_t (*create_engine)(const struct BertrandTorchConfig* config,
                           const struct BertrandTorchOptions* options,
                           const struct BertrandTorchParameter* parameters, size_t count,
                           struct BertrandTorchEngine** engine);
  void (*free_engine)(struct BertrandTorchEngine* engine);

  /// All parameters in their order. Gradients and moments are zero until there are others.
  int32_t (*load)(struct BertrandTorchEngine* engine, int32_t kind, BertrandTorchRead read,
                  void* context);
  int32_t (*store)(const struct BertrandTorchEngine* engine, int32_t kind, BertrandTorchWrite write,
                   void* context);
  uint64_t (*steps)(const struct BertrandTorchEngine* engine);
  int32_t (*set_steps)(struct BertrandTorchEngine* engine, uint64_t steps);
  int32_t (*scaling)(const struct BertrandTorchEngine* engine,
                     struct BertrandTorchScaling* scaling);
  int32_t (*set_scaling)(struct BertrandTorchEngine* engine,
                         const struct BertrandTorchScaling* scaling);

  /// Engine::forward: scores [tokens] each.
  int32_t (*forward)(struct BertrandTorchEngine* engine, const struct BertrandTorchBatch* batch,
                     float* start, float* end);
  /// What is between embeddings and scores: states [layers + 1, tokens, hidden_size].
  int32_t (*hidden_states)(struct BertrandTorchEngine* engine,
                           const struct BertrandTorchBatch* batch, float* states);
  /// Engine::backward.
  int32_t (*backward)(struct BertrandTorchEngine* engine, const struct BertrandTorchBatch* batch,
                      const struct BertrandTorchDropout* dropout, double weight, double* loss);
  /// Engine::step.
  int32_t (*step)(struct BertrandTorchEngine* engine, double learning_rate,
                  const struct BertrandTorchOptimizer* settings,
                  struct BertrandTorchReport* report);

  int32_t (*create_group)(const struct BertrandTorchGroupOptions* options,
                          struct BertrandTorchGroup** group);
  void (*free_group)(struct BertrandTorchGroup* group);
  int32_t (*sum_doubles)(struct BertrandTorchGroup* group, double* values, size_t count);
  int32_t (*sum_floats)(struct BertrandTorchGroup* group, float* values, size_t count);
  int32_t (*broadcast)(struct BertrandTorchGroup* group, void* bytes, size_t count, uint32_t root);
  int32_t (*barrier)(struct BertrandTorchGroup* group);
  /// Engine::reduce_gradients, where the gradients are.
  int32_t (*reduce_gradients)(struct BertrandTorchEngine* engine, struct BertrandTorchGroup* group);
  /// What no other card of the machine has, whatever number it goes by in a process; "" where that
  /// is not known. Ends with a zero within `size`.
  int32_t (*name_card)(const char* device, const char* library, char* name, size_t size);
};

/// The one symbol the plug-in exports: its table, or null where it does not know this version.
const struct BertrandTorchTable* bertrand_torch_table(uint32_t version);

}  // extern "C"
