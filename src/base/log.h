#pragma once

namespace bertrand {

/// Sends spdlog's messages to standard error, plain where that is not a terminal. Called once by
/// main.
void set_up_logging(bool quiet);

}  // namespace bertrand
