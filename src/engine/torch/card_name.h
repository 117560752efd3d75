#pragma once

#include <c10/core/Device.h>
#include <string>

namespace bertrand::plugin {

/// What no other card of the machine has: processes may know one by several numbers, and several by
/// one. Empty for the CPU, and where the device's library cannot tell.
std::string card_name(const c10::Device& device);

}  // namespace bertrand::plugin
