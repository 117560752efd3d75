#pragma once

#include <stdexcept>
#include <string>

namespace bertrand {

/// What kind of thing went wrong; decides the program's exit code.
enum class ErrorCode {
  usage,      ///< wrong flags or values on the command line
  bad_input,  ///< a file or text given to us does not hold what it should
  io,         ///< the system refused: no such file, no permission, disk full
  runtime,    ///< anything else that failed while running (a NaN loss, no memory)
  elsewhere,  ///< another process of the run is gone: the cause is there
};

/// The exit code of a process that ended because another of its run did.
constexpr int kElsewhereExitCode = 4;

/// The one exception type. Its text is a whole sentence that names the file and the place in it and
/// says what to do, so that a caller can print it as it is; empty where another process of the same
/// run says it.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& sentence) : std::runtime_error(sentence), code_(code) {}

  ErrorCode code() const { return code_; }

  /// 1 failed at run time (runtime, io), 2 wrong usage, 3 bad input file, 4 elsewhere: another
  /// process of the run failed.
  int exit_code() const;

 private:
  ErrorCode code_;
};

}  // namespace bertrand
