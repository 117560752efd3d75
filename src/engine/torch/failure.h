#pragma once

#include <stdexcept>
#include <string>

#include "engine/torch_border.h"

namespace bertrand::plugin {

/// What the plug-in itself finds wrong: a sentence for the user, and what kind of fault it is.
class Failure : public std::runtime_error {
 public:
  Failure(BertrandTorchStatus status, const std::string& sentence)
      : std::runtime_error(sentence), status_(status) {}

  BertrandTorchStatus status() const { return status_; }

 private:
  BertrandTorchStatus status_;
};

/// A callback of the program asked to stop; it knows why.
class Stopped : public std::runtime_error {
 public:
  Stopped() : std::runtime_error("stopped by the program") {}
};

}  // namespace bertrand::plugin
