#pragma once

#include <c10/core/Device.h>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

namespace bertrand::plugin {

/// Work that was recorded; it reads and writes where it did then.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void replay() = 0;
};

/// The device cannot record the work; it says why. Nothing was computed.
class CannotRecord : public std::runtime_error {
 public:
  explicit CannotRecord(const std::string& why) : std::runtime_error(why) {}
};

/// Records work, so that it can be launched as one thing. On CUDA by its graphs, on a stream of its
/// own; elsewhere a recording computes the work again, which is the same but for the time it takes.
class Recorder {
 public:
  virtual ~Recorder() = default;

  /// Calls `work` after all that was begun before on the device, and returns when what it began is
  /// done. Whatever is recorded or replayed is so within this.
  virtual void run(const std::function<void()>& work) = 0;

  /// Records what `work` computes, without computing it. It must have been computed once, so that
  /// memory is taken and libraries have begun; and it may not look at values, nor at the host.
  /// Throws CannotRecord.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& work) = 0;

  /// To be called when all recordings made so far are gone.
  virtual void begin_anew() {}
};

std::unique_ptr<Recorder> make_recorder(const c10::Device& device);

}  // namespace bertrand::plugin
