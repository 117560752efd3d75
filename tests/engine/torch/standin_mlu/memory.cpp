#include "memory.h"

#include <algorithm>
#include <bit>
#include <c10/core/DeviceType.h>
#include <c10/util/Exception.h>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <sys/mman.h>
#include <vector>

#include "counters.h"

namespace standin {
namespace {

constexpr size_t kDeviceBytes = size_t{2} << 30;
constexpr size_t kAllBytes = kDeviceBytes * kMostDevices;

/// What a device has: $STANDIN_MLU_BYTES, or all there is room for.
size_t device_bytes() {
  const char* set = std::getenv("STANDIN_MLU_BYTES");
  return set != nullptr ? std::min<size_t>(std::strtoull(set, nullptr, 10), kDeviceBytes)
                        : kDeviceBytes;
}

/// Two halves of one reservation. Pointers lead into the first, which nobody may touch; the second,
/// at a fixed distance, holds what they stand for.
char* reserve() {
  void* begin =
      ::mmap(nullptr, 2 * kAllBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  TORCH_CHECK(begin != MAP_FAILED, "the stand-in's memory cannot be reserved");
  auto* first = static_cast<char*>(begin);
  TORCH_CHECK(::mprotect(first + kAllBytes, kAllBytes, PROT_READ | PROT_WRITE) == 0,
              "the stand-in's memory cannot be opened");
  return first;
}

char* begin() {
  static char* const kBegin = reserve();
  return kBegin;
}

/// Blocks whose sizes are powers of two; freed ones are given out again.
class Heap {
 public:
  void* take(int device, size_t bytes) {
    const size_t size = std::bit_ceil(std::max<size_t>(bytes, 64));
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<char*>& free = free_[{device, size}];
    if (free.empty()) {
      size_t& used = used_[device];
      TORCH_CHECK_WITH(OutOfMemoryError, used + size <= device_bytes(), "mlu:", device,
                       " is out of memory");
      free.push_back(begin() + static_cast<size_t>(device) * kDeviceBytes + used);
      used += size;
    }
    char* block = free.back();
    free.pop_back();
    sizes_[block] = {device, size};
    return block;
  }

  void give_back(void* pointer) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto* block = static_cast<char*>(pointer);
    free_[sizes_.at(block)].push_back(block);
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<int, size_t>, std::vector<char*>> free_;
  std::map<char*, std::pair<int, size_t>> sizes_;
  std::map<int, size_t> used_;
};

/// Never destroyed: tensors may be freed after the statics of this library.
Heap& heap() {
  static auto* const kHeap = std::make_unique<Heap>().release();
  return *kHeap;
}

void free_block(void* pointer) {
  if (pointer != nullptr) heap().give_back(pointer);
}

c10::DataPtr allocate_block(size_t bytes) {
  const c10::Device device(c10::kPrivateUse1, static_cast<c10::DeviceIndex>(current_device()));
  if (bytes == 0) return {nullptr, device};
  void* block = heap().take(device.index(), bytes);
  std::memset(inside(block), 0xFF, bytes);
  return {block, block, &free_block, device};
}

/// Which functions override others depends on LibTorch's version: allocate() became non-const and
/// copy_data() was added. NOLINTBEGIN(modernize-use-override)
class DeviceAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) { return allocate_block(bytes); }
  c10::DataPtr allocate(size_t bytes) const { return allocate_block(bytes); }
  c10::DeleterFnPtr raw_deleter() const { return &free_block; }
  void copy_data(void* to, const void* from, size_t bytes) const {
    std::memcpy(inside(to), inside(from), bytes);
  }
};
// NOLINTEND(modernize-use-override)

thread_local int current = 0;

const std::vector<int>& visible_devices() {
  static const std::vector<int> devices = [] {
    const char* set = std::getenv("MLU_VISIBLE_DEVICES");
    std::istringstream text(set != nullptr ? set : "");
    std::vector<int> all;
    for (std::string one; std::getline(text, one, ',');) all.push_back(std::stoi(one));
    return all;
  }();
  return devices;
}

}  // namespace

int device_count() {
  if (!visible_devices().empty()) return static_cast<int>(visible_devices().size());
  const char* set = std::getenv("STANDIN_MLU_DEVICES");
  constexpr int kUsual = 4;
  return set != nullptr ? std::clamp(std::atoi(set), 0, kMostDevices) : kUsual;
}

int device_of_machine(int index) {
  return visible_devices().empty() ? index : visible_devices().at(static_cast<size_t>(index));
}

int current_device() { return current; }

void set_current_device(int index) {
  TORCH_CHECK(index >= 0 && index < device_count(), "there is no mlu:", index);
  current = index;
}

c10::Allocator* allocator() {
  static DeviceAllocator the_one;
  return &the_one;
}

void* inside(const void* pointer) {
  const auto* address = static_cast<const char*>(pointer);
  if (address == nullptr) return nullptr;
  TORCH_CHECK(address >= begin() && address < begin() + kAllBytes,
              "a kernel of the device was given memory of the host");
  return begin() + kAllBytes + (address - begin());
}

}  // namespace standin

extern "C" void* standin_mlu_inside(const void* pointer) { return standin::inside(pointer); }

extern "C" void* standin_mlu_allocate(size_t bytes) {
  return standin::allocator()->raw_allocate(bytes);
}
