#pragma once

#include <cstdlib>
#include <map>
#include <string>
#include <utility>

namespace bertrand::test {

/// Variables of this process's environment, and of those that it starts, while this lives.
class Environment {
 public:
  using Values = std::map<std::string, std::string>;

  explicit Environment(Values values) : values_(std::move(values)) {
    for (const auto& [name, value] : values_) {
      ::setenv(name.c_str(), value.c_str(), /*overwrite=*/1);
    }
  }
  ~Environment() {
    for (const auto& [name, value] : values_) ::unsetenv(name.c_str());
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const Values values_;
};

}  // namespace bertrand::test
