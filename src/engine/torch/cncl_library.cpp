#include "engine/torch/cncl_library.h"

#include <ATen/ATen.h>
#include <array>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <cstdint>
#include <cstdlib>
#include <dlfcn.h>
#include <stdexcept>
#include <string>
#include <thread>

namespace bertrand::plugin {
namespace {

using Queue = void*;         // cnrtQueue_t
using Communicator = void*;  // cnclComm_t

/// cnclCliqueId has 136 bytes; there is room for a larger one.
constexpr size_t kIdBytes = 1024;
constexpr const char* kIdName = "bertrand/cncl";

// cnclDataType_t, cnclReduceOp_t
constexpr int kFloat32 = 0x12, kInt32 = 0x22, kUint8 = 0x30;
constexpr int kSum = 0;

// cnrtErrorNotReady, and cnrtErrorBusy, which it was before
constexpr int kNotReady = 1, kBusy = 632014;

/// From what is loaded, which torch_mlu's own is, else from a library of this name.
void* symbol(const char* library, const char* name) {
  if (void* found = ::dlsym(RTLD_DEFAULT, name)) {
    return found;
  }
  void* handle = ::dlopen(library, RTLD_LAZY | RTLD_GLOBAL);
  if (const char* home = std::getenv("NEUWARE_HOME"); handle == nullptr && home != nullptr) {
    handle = ::dlopen((std::string(home) + "/lib64/" + library).c_str(), RTLD_LAZY | RTLD_GLOBAL);
  }
  void* found = handle != nullptr ? ::dlsym(handle, name) : nullptr;
  if (found == nullptr) {
    throw std::runtime_error(
        std::string("this libtorch_mlu.so has no process group, and there is no ") + name + " of " +
        library + "; set LD_LIBRARY_PATH to $NEUWARE_HOME/lib64");
  }
  return found;
}

template <typename Function>
void bind(Function*& function, const char* library, const char* name) {
  function = reinterpret_cast<Function*>(symbol(library, name));
}

/// The functions of the two libraries. They return 0, or the number of an error.
struct Functions {
  Functions() {
    constexpr const char* kCncl = "libcncl.so";
    bind(get_clique_id, kCncl, "cnclGetCliqueId");
    bind(init_comms, kCncl, "cnclInitComms");
    bind(free_comm, kCncl, "cnclFreeComm");
    bind(abort_comm, kCncl, "cnclAbortComm");
    bind(all_reduce, kCncl, "cnclAllReduce");
    bind(broadcast, kCncl, "cnclBroadcast");
    bind(error_text, kCncl, "cnclGetErrorStr");
    constexpr const char* kCnrt = "libcnrt.so";
    bind(queue_create, kCnrt, "cnrtQueueCreate");
    bind(queue_destroy, kCnrt, "cnrtQueueDestroy");
    bind(queue_query, kCnrt, "cnrtQueueQuery");
  }

  void check(int result, const char* what) const {
    if (result != 0) {
      throw std::runtime_error(std::string(what) + ": " + error_text(result));
    }
  }

  int (*get_clique_id)(void* id) = nullptr;
  int (*init_comms)(Communicator* comms, int comms_count, const int* devices, const int* ranks,
                    int rank_count, const void* id) = nullptr;
  int (*free_comm)(Communicator comm) = nullptr;
  int (*abort_comm)(Communicator comm) = nullptr;
  int (*all_reduce)(const void* from, void* to, size_t count, int type, int operation,
                    Communicator comm, Queue queue) = nullptr;
  int (*broadcast)(const void* from, void* to, size_t count, int type, int root, Communicator comm,
                   Queue queue) = nullptr;
  const char* (*error_text)(int result) = nullptr;
  int (*queue_create)(Queue* queue) = nullptr;
  int (*queue_destroy)(Queue queue) = nullptr;
  int (*queue_query)(Queue queue) = nullptr;
};

int type_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return kFloat32;
    case at::kInt:
      return kInt32;
    case at::kByte:
      return kUint8;
    default:
      throw std::runtime_error("libcncl is not asked to exchange such numbers");
  }
}

/// One queue and one communicator. Each call waits for what the device does before, and for its own
/// end: which queue LibTorch's work is in only torch_mlu knows.
class CnclExchange final : public Exchange {
 public:
  CnclExchange(const c10::intrusive_ptr<c10d::Store>& store, const CnclPlace& place)
      : place_(place) {
    const c10::DeviceGuard guard(place_.device);
    const std::vector<uint8_t> id = share_id(store);
    const int device = place_.device.index();
    functions_.check(
        functions_.init_comms(&comm_, 1, &device, &place_.rank, place_.count, id.data()),
        "cnclInitComms");
    if (functions_.queue_create(&queue_) != 0) {
      throw std::runtime_error("cnrtQueueCreate failed");
    }
  }

  CnclExchange(const CnclExchange&) = delete;
  CnclExchange& operator=(const CnclExchange&) = delete;

  ~CnclExchange() override {
    const c10::DeviceGuard guard(place_.device);
    if (queue_ != nullptr) {
      functions_.queue_destroy(queue_);
    }
    if (comm_ != nullptr) {
      functions_.free_comm(comm_);
    }
  }

  void sum(at::Tensor& tensor) override {
    run(tensor, "cnclAllReduce", [&](void* data, size_t count, int type) {
      return functions_.all_reduce(data, data, count, type, kSum, comm_, queue_);
    });
  }

  void broadcast(at::Tensor& tensor, int root) override {
    run(tensor, "cnclBroadcast", [&](void* data, size_t count, int type) {
      return functions_.broadcast(data, data, count, type, root, comm_, queue_);
    });
  }

 private:
  /// Process 0 makes the number by which they know each other.
  std::vector<uint8_t> share_id(const c10::intrusive_ptr<c10d::Store>& store) const {
    std::vector<uint8_t> id(kIdBytes);
    if (place_.rank != 0) {
      return store->get(kIdName);
    }
    functions_.check(functions_.get_clique_id(id.data()), "cnclGetCliqueId");
    store->set(kIdName, id);
    return id;
  }

  template <typename Call>
  void run(at::Tensor& tensor, const char* name, const Call& call) {
    if (comm_ == nullptr) {
      throw std::runtime_error("it was given up");
    }
    const c10::DeviceGuard guard(place_.device);
    c10::impl::getDeviceGuardImpl(place_.device.type())->getStream(place_.device).synchronize();
    functions_.check(call(tensor.data_ptr(), static_cast<size_t>(tensor.numel()), type_of(tensor)),
                     name);
    wait(name);
  }

  void wait(const char* name) {
    constexpr std::chrono::microseconds kPause(20);
    const auto end = std::chrono::steady_clock::now() + place_.timeout;
    for (int state = 0; (state = functions_.queue_query(queue_)) != 0;
         std::this_thread::sleep_for(kPause)) {
      if (state != kNotReady && state != kBusy) {
        throw std::runtime_error(std::string(name) + ": error " + std::to_string(state) +
                                 " of the queue");
      }
      if (std::chrono::steady_clock::now() > end) {
        functions_.abort_comm(comm_);  // which frees it
        comm_ = nullptr;
        throw std::runtime_error(std::string(name) + ": no answer within " +
                                 std::to_string(place_.timeout.count()) + " ms");
      }
    }
  }

  Functions functions_;
  CnclPlace place_;
  Communicator comm_ = nullptr;
  Queue queue_ = nullptr;
};

}  // namespace

std::unique_ptr<Exchange> make_cncl_exchange(const c10::intrusive_ptr<c10d::Store>& store,
                                             const CnclPlace& place) {
  return std::make_unique<CnclExchange>(store, place);
}

}  // namespace bertrand::plugin
