#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/wait.h>

#include "base/temporary_folder.h"

namespace bertrand::test {

/// What a run of the program left.
struct Outcome {
  int status = -1;  ///< exit code; -1 where a signal ended it
  std::string out;
  std::string err;
};

/// Runs the program in a folder of its own.
class Program {
 public:
  std::filesystem::path path(const std::string& name) const { return folder_.path() / name; }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary) << text;
  }

  std::string read(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  /// `arguments` as a shell reads them; redirections may follow. Standard input is empty unless
  /// redirected.
  Outcome run(const std::string& arguments, const std::string& before = "") const {
    const std::string command = "cd '" + folder_.path().string() +
                                "' && exec </dev/null >out 2>err; " + before + " '" +
                                BERTRAND_PROGRAM + "' " + arguments;
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read("out"), read("err")};
  }

 private:
  TemporaryFolder folder_;
};

}  // namespace bertrand::test
