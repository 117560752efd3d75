#include "engine/engine_choice.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"

namespace bertrand {
namespace {

[[noreturn]] void fail(const std::string& sentence) { throw Error(ErrorCode::usage, sentence); }

/// "cpu", or "cuda" or "mlu" with or without ":" and a number.
bool is_device(const std::string& name) {
  if (name == "cpu" || name == "cuda" || name == "mlu") {
    return true;
  }
  const size_t colon = name.find(':');
  if (colon == std::string::npos) {
    return false;
  }
  const std::string type = name.substr(0, colon);
  const std::string number = name.substr(colon + 1);
  constexpr size_t kMostDigits = 3;
  return (type == "cuda" || type == "mlu") && !number.empty() && number.size() <= kMostDigits &&
         std::all_of(number.begin(), number.end(),
                     [](unsigned char digit) { return std::isdigit(digit) != 0; });
}

/// "mlu:1" of "mlu:01"; LibTorch takes no number with a zero in front.
std::string without_zeros(const std::string& device) {
  const size_t number = device.find(':') + 1;
  const size_t begin = device.find_first_not_of('0', number);
  return device.substr(0, number) + (begin == std::string::npos ? "0" : device.substr(begin));
}

}  // namespace

std::string device_of_process(const std::string& device, unsigned local_rank) {
  return device == "cpu" || device.find(':') != std::string::npos
             ? device
             : device + ":" + std::to_string(local_rank);
}

void check_engine_choice(const EngineChoice& choice) {
  if (!is_device(choice.device)) {
    fail("--device: \"" + choice.device +
         "\" is not known; give cpu, cuda or mlu, the last two with a number where there are "
         "several "
         "(cuda:1).");
  }
  if (choice.device.find(':') != std::string::npos &&
      without_zeros(choice.device) != choice.device) {
    fail("--device " + choice.device + ": give the number without a zero in front, " +
         without_zeros(choice.device) + ".");
  }
  if (choice.engine == "native" && choice.device != "cpu") {
    fail("--engine native computes on the CPU; for --device " + choice.device +
         " give --engine torch, or leave --engine out.");
  }
  if (!choice.is_torch() && choice.dropout_key == "device") {
    fail(
        "--dropout-key device is for --engine torch and for devices; the native engine's masks are "
        "keyed by example.");
  }
}

}  // namespace bertrand
