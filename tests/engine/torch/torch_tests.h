#pragma once

#include <cstdlib>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/torch_engine.h"

namespace bertrand::test {

/// The plug-in beside the test program; null where it was not built.
inline std::shared_ptr<const TorchPlugin> built_plugin() {
  static const std::shared_ptr<const TorchPlugin> kPlugin = [] {
    try {
      return TorchPlugin::open();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::usage) throw;
      return std::shared_ptr<const TorchPlugin>();
    }
  }();
  return kPlugin;
}

/// Where the tests compute: on the CPU, unless $BERTRAND_TEST_DEVICE says where, and
/// $BERTRAND_TEST_LIBRARY by which library.
struct TestDevice {
  std::string device = "cpu", library;
};
inline TestDevice test_device() {
  const char* device = std::getenv("BERTRAND_TEST_DEVICE");
  const char* library = std::getenv("BERTRAND_TEST_LIBRARY");
  return device == nullptr ? TestDevice() : TestDevice{device, library != nullptr ? library : ""};
}

inline std::unique_ptr<EngineWithStates> torch_engine(const BertConfig& config,
                                                      TorchOptions options = {}) {
  if (options.device == "cpu") {
    options.device = test_device().device;
    options.library = test_device().library;
  }
  return make_torch_engine(built_plugin(), config, options);
}

}  // namespace bertrand::test

/// First line of a test that needs the plug-in.
#define BERTRAND_NEEDS_TORCH()                   \
  if (bertrand::test::built_plugin() == nullptr) \
  GTEST_SKIP() << "no libbertrand_torch.so (configure with -DBERTRAND_TORCH=ON)"
