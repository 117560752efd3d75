#include <cstdlib>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "engine/torch/backends.h"

namespace bertrand::plugin {
namespace {

/// The network to go by: as $GLOO_SOCKET_IFNAME says; the one the processes met by; this machine
/// alone where the store is on it; else the one its name stands for.
auto network_of(const std::string& address, const char* own) {
  using c10d::ProcessGroupGloo;
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  if (interface != nullptr && *interface != '\0') {
    return ProcessGroupGloo::createDeviceForInterface(interface);
  }
  if (own != nullptr) {
    return ProcessGroupGloo::createDeviceForHostname(own);
  }
  if (address == "localhost" || address.rfind("127.", 0) == 0) {
    return ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
  }
  return ProcessGroupGloo::createDefaultDevice();
}

}  // namespace

std::unique_ptr<Exchange> make_gloo(const c10::intrusive_ptr<c10d::Store>& store,
                                    const BertrandTorchGroupOptions& options,
                                    std::chrono::milliseconds timeout) {
  auto how = c10d::ProcessGroupGloo::Options::create(timeout);
  how->devices.push_back(network_of(options.address, options.own_address));
  return exchange_by(c10::make_intrusive<c10d::ProcessGroupGloo>(
      store, static_cast<int>(options.rank), static_cast<int>(options.count), std::move(how)));
}

}  // namespace bertrand::plugin
