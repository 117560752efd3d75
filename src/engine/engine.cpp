#include "engine/engine.h"

#include "base/error.h"

namespace bertrand {

const char* name_of(Precision precision) {
  switch (precision) {
    case Precision::bf16:
      return "bf16";
    case Precision::int8:
      return "int8";
    case Precision::automatic:
      return "auto";
    default:
      return "fp32";
  }
}

Precision parse_precision(const std::string& name) {
  for (const Precision precision :
       {Precision::automatic, Precision::fp32, Precision::bf16, Precision::int8}) {
    if (name == name_of(precision)) {
      return precision;
    }
  }
  throw Error(ErrorCode::usage,
              "Precision \"" + name + "\" is not known; give auto, fp32, bf16 or int8.");
}

}  // namespace bertrand
