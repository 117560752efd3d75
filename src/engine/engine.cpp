#include "engine/engine.h"

#include "base/error.h"

namespace bertrand {

const char* name_of(Precision precision) { return precision == Precision::bf16 ? "bf16" : "fp32"; }

Precision parse_precision(const std::string& name) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    if (name == name_of(precision)) {
      return precision;
    }
  }
  throw Error(ErrorCode::usage, "Precision \"" + name + "\" is not known; give fp32 or bf16.");
}

}  // namespace bertrand
