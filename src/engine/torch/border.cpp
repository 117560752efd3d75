#include <algorithm>
#include <c10/util/Exception.h>
#include <c10/util/Logging.h>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <torch/version.h>

#include "engine/torch/card_name.h"
#include "engine/torch/device.h"
#include "engine/torch/engine.h"
#include "engine/torch/failure.h"
#include "engine/torch/group.h"
#include "engine/torch/sentence.h"
#include "engine/torch_border.h"

struct BertrandTorchEngine : bertrand::plugin::TorchEngine {
  using TorchEngine::TorchEngine;
};

struct BertrandTorchGroup : bertrand::plugin::Group {
  using Group::Group;
};

namespace bertrand::plugin {
namespace {

/// c10d has NCCL's own reason in the line behind this one.
std::string last_error_of(const std::string& text) {
  constexpr std::string_view kMark = "Last error:";
  const size_t mark = text.find(kMark);
  const size_t begin = mark == std::string::npos
                           ? std::string::npos
                           : text.find_first_not_of(" \n", mark + kMark.size());
  return begin == std::string::npos ? "" : text.substr(begin, text.find('\n', begin) - begin);
}

}  // namespace

std::string first_line(const std::exception& error) {
  const auto* known = dynamic_cast<const c10::Error*>(&error);
  std::string text = known != nullptr ? known->what_without_backtrace() : error.what();
  const std::string reason = last_error_of(text);
  text = text.substr(0, text.find('\n'));
  text = text.substr(0, text.find(" This is typically caused by"));  // what gloo guesses
  if (const size_t end = text.find("] "); text[0] == '[' && end != std::string::npos) {
    text.erase(0, end + 2);  // the place in its source
  }
  while (!text.empty() && (text.back() == '.' || text.back() == ' ')) {
    text.pop_back();
  }
  return reason.empty() ? text : text + "; " + reason;
}

namespace {

thread_local std::string last_sentence;

int32_t fail(BertrandTorchStatus status, const std::string& sentence) {
  last_sentence = sentence;
  return status;
}

/// What the program gave, with zeroes for members it does not know of.
template <typename Given>
Given whole(const Given* given) {
  Given all{};
  std::memcpy(&all, given, std::min(given->size, sizeof all));
  return all;
}

/// The other way: members that the program does not know of are left out.
template <typename Asked>
void give(const Asked& all, Asked* asked) {
  const size_t size = std::min(asked->size, sizeof all);
  std::memcpy(asked, &all, size);
  asked->size = size;
}

/// Calls `work`; what it throws becomes a status and a sentence.
template <typename Work>
int32_t guarded(const Work& work) {
  try {
    work();
    return bertrand_torch_ok;
  } catch (const Failure& failure) {
    return fail(failure.status(), failure.what());
  } catch (const Stopped&) {
    return fail(bertrand_torch_stopped, "The program stopped it.");
  } catch (const c10::OutOfMemoryError& error) {
    return fail(bertrand_torch_failed, "The device's memory is full (" + first_line(error) +
                                           "); give a smaller --micro-batch-tokens or "
                                           "--batch-tokens.");
  } catch (const std::bad_alloc&) {
    return fail(bertrand_torch_failed, "There is not memory enough for LibTorch.");
  } catch (const std::exception& error) {
    return fail(bertrand_torch_failed, "LibTorch: " + first_line(error) + ".");
  }
}

int32_t count_devices_of(const char* type, const char* library, uint32_t* count,
                         int32_t* multiplies_bf16) {
  return guarded([&] {
    const uint32_t found = count_devices(type, library);
    if (count != nullptr) {
      *count = found;
    }
    if (multiplies_bf16 != nullptr) {
      *multiplies_bf16 = found > 0 && has_bf16(find_device(type, library)) ? 1 : 0;
    }
  });
}

int32_t name_card(const char* device, const char* library, char* name, size_t size) {
  return guarded([&] {
    const std::string found = card_name(find_device(device, library));
    name[found.copy(name, size - 1)] = '\0';
  });
}

int32_t create_engine(const BertrandTorchConfig* config, const BertrandTorchOptions* options,
                      const BertrandTorchParameter* parameters, size_t count,
                      BertrandTorchEngine** engine) {
  return guarded([&] {
    *engine =
        std::make_unique<BertrandTorchEngine>(whole(config), whole(options), parameters, count)
            .release();
  });
}

int32_t load(BertrandTorchEngine* engine, int32_t kind, BertrandTorchRead read, void* context) {
  return guarded([&] { engine->load(static_cast<BertrandTorchKind>(kind), read, context); });
}

int32_t store(const BertrandTorchEngine* engine, int32_t kind, BertrandTorchWrite write,
              void* context) {
  return guarded([&] { engine->store(static_cast<BertrandTorchKind>(kind), write, context); });
}

int32_t create_group(const BertrandTorchGroupOptions* options, BertrandTorchGroup** group) {
  return guarded([&] { *group = std::make_unique<BertrandTorchGroup>(whole(options)).release(); });
}

template <typename Value>
int32_t sum(BertrandTorchGroup* group, Value* values, size_t count, at::ScalarType type) {
  return guarded([&] {
    at::Tensor tensor = at::from_blob(values, {static_cast<int64_t>(count)}, type);
    group->sum(tensor);
  });
}

const BertrandTorchTable table = {
    kBertrandTorchVersion,
    sizeof(BertrandTorchTable),
    TORCH_VERSION,
    group_backends(),
    [] { return last_sentence.c_str(); },
    count_devices_of,
    create_engine,
    [](BertrandTorchEngine* engine) { const std::unique_ptr<BertrandTorchEngine> end(engine); },
    load,
    store,
    [](const BertrandTorchEngine* engine) { return engine->steps(); },
    [](BertrandTorchEngine* engine, uint64_t steps) {
      return guarded([&] { engine->set_steps(steps); });
    },
    [](const BertrandTorchEngine* engine, BertrandTorchScaling* scaling) {
      return guarded([&] { give(engine->scaling(), scaling); });
    },
    [](BertrandTorchEngine* engine, const BertrandTorchScaling* scaling) {
      return guarded([&] { engine->set_scaling(whole(scaling)); });
    },
    [](BertrandTorchEngine* engine, const BertrandTorchBatch* batch, float* start, float* end) {
      return guarded([&] { engine->forward(whole(batch), start, end); });
    },
    [](BertrandTorchEngine* engine, const BertrandTorchBatch* batch, float* states) {
      return guarded([&] { engine->hidden_states(whole(batch), states); });
    },
    [](BertrandTorchEngine* engine, const BertrandTorchBatch* batch,
       const BertrandTorchDropout* dropout, double weight, double* loss) {
      return guarded([&] { *loss = engine->backward(whole(batch), whole(dropout), weight); });
    },
    [](BertrandTorchEngine* engine, double learning_rate, const BertrandTorchOptimizer* settings,
       BertrandTorchReport* report) {
      return guarded([&] { give(engine->step(learning_rate, whole(settings)), report); });
    },
    create_group,
    [](BertrandTorchGroup* group) { const std::unique_ptr<BertrandTorchGroup> end(group); },
    [](BertrandTorchGroup* group, double* values, size_t count) {
      return sum(group, values, count, at::kDouble);
    },
    [](BertrandTorchGroup* group, float* values, size_t count) {
      return sum(group, values, count, at::kFloat);
    },
    [](BertrandTorchGroup* group, void* bytes, size_t count, uint32_t root) {
      return guarded([&] { group->broadcast(bytes, count, root); });
    },
    [](BertrandTorchGroup* group) { return guarded([&] { group->barrier(); }); },
    [](BertrandTorchEngine* engine, BertrandTorchGroup* group) {
      return guarded([&] { engine->reduce_gradients(*group); });
    },
    name_card,
};

}  // namespace
}  // namespace bertrand::plugin

namespace {

/// LibTorch tells of errors on standard error before it throws them, with its stack. The program
/// says what there is to say, in one sentence; $TORCH_CPP_LOG_LEVEL brings the rest back.
void quiet_libtorch() {
  ::setenv("TORCH_CPP_LOG_LEVEL", "FATAL", /*overwrite=*/0);
  c10::initLogging();
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const BertrandTorchTable* bertrand_torch_table(
    uint32_t version) {
  static std::once_flag quiet;
  std::call_once(quiet, quiet_libtorch);
  return version == kBertrandTorchVersion ? &bertrand::plugin::table : nullptr;
}
