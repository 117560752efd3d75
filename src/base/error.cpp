#include "base/error.h"

namespace bertrand {

int Error::exit_code() const {
  switch (code_) {
    case ErrorCode::usage:
      return 2;
    case ErrorCode::bad_input:
      return 3;
    case ErrorCode::elsewhere:
      return kElsewhereExitCode;
    case ErrorCode::io:
    case ErrorCode::runtime:
      break;
  }
  return 1;
}

}  // namespace bertrand
