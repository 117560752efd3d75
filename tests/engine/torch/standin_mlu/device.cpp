// What LibTorch asks of a device: which there are, which is the current one, its streams, of which
// each has one, and its generator.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <array>
#include <c10/core/DeviceType.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <cstdio>

#include "generator.h"
#include "memory.h"

namespace standin {
namespace {

c10::Device device(int index) { return {c10::kPrivateUse1, static_cast<c10::DeviceIndex>(index)}; }

class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return c10::kPrivateUse1; }
  c10::Device getDevice() const override { return device(current_device()); }
  void setDevice(c10::Device to) const override { set_current_device(to.index()); }
  void uncheckedSetDevice(c10::Device to) const noexcept override {
    set_current_device(to.index());
  }
  c10::Device exchangeDevice(c10::Device to) const override {
    const c10::Device before = getDevice();
    setDevice(to);
    return before;
  }
  c10::DeviceIndex deviceCount() const noexcept override {
    return static_cast<c10::DeviceIndex>(device_count());
  }

  c10::Stream getStream(c10::Device of) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, of);
  }
  c10::Stream getDefaultStream(c10::Device of) const override { return getStream(of); }
  c10::Stream exchangeStream(c10::Stream to) const noexcept override {
    return getStream(to.device());
  }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
  void record(void**, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

/// Which functions override others depends on LibTorch's version, in which getDefaultGenerator()
/// became const and the last three were added. NOLINTBEGIN(modernize-use-override)
class Hooks : public at::PrivateUse1HooksInterface {
 public:
  const at::Generator& getDefaultGenerator(c10::DeviceIndex index) { return generator(index); }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex index) const {
    return generator(index);
  }
  bool isBuilt() const { return true; }
  bool isAvailable() const { return device_count() > 0; }
  bool hasPrimaryContext(c10::DeviceIndex) const { return true; }
};
// NOLINTEND(modernize-use-override)

/// When the library is loaded.
struct Registration {
  Registration() {
    static Hooks hooks;
    at::RegisterPrivateUse1HooksInterface(&hooks);
    c10::SetAllocator(c10::kPrivateUse1, allocator());
  }
} const kRegistration;

}  // namespace

const at::Generator& generator(int index) {
  static std::array<at::Generator, kMostDevices> generators = [] {
    std::array<at::Generator, kMostDevices> all;
    for (at::Generator& one : all) one = at::make_generator<at::CPUGeneratorImpl>();
    return all;
  }();
  return generators.at(static_cast<size_t>(index >= 0 ? index : current_device()));
}

}  // namespace standin

/// CNRT's. NOLINTNEXTLINE(readability-identifier-naming)
extern "C" int cnrtDeviceGetPCIBusId(char* place, int size, int device) {
  std::snprintf(place, static_cast<size_t>(size), "0000:%02x:00.0",
                standin::device_of_machine(device));
  return 0;
}
