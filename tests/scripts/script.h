#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/wait.h>

#include "base/temporary_folder.h"
#include "cli/program.h"
#include "shared_data.h"

namespace bertrand::test {

/// Runs commands of the shell in a folder of its own.
class Script {
 public:
  std::filesystem::path path(const std::string& name) const { return folder_.path() / name; }
  bool exists(const std::string& name) const { return std::filesystem::exists(path(name)); }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary) << text;
  }

  std::string read(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  /// One line, as bash reads it. Proxies are not asked: what is fetched is on this machine.
  Outcome sh(const std::string& line) const {
    write("line", "cd '" + folder_.path().string() + "' && exec </dev/null >out 2>err\n" +
                      "unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY\n" +
                      line + "\n");
    const int status = std::system(("bash '" + path("line").string() + "'").c_str());
    return {.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
            .out = read("out"),
            .err = read("err")};
  }

 private:
  TemporaryFolder folder_;
};

}  // namespace bertrand::test
