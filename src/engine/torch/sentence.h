#pragma once

#include <exception>
#include <string>

namespace bertrand::plugin {

/// What LibTorch says of an error, and behind it what NCCL itself does, without its stack and
/// without a full stop.
std::string first_line(const std::exception& error);

}  // namespace bertrand::plugin
