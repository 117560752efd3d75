#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "distributed/process_group.h"
#include "engine/torch_plugin.h"

namespace bertrand {

/// How the processes of a run find each other.
struct TorchGroupOptions {
  std::string backend = "gloo";  ///< "gloo" (CPU), "nccl" (CUDA) or "cncl" (MLU)
  std::string device = "cpu";    ///< the one this process computes on; nccl and cncl sum there
  std::string library;           ///< as in TorchOptions
  ProcessPlace place;
  std::string address = "127.0.0.1";  ///< of the process that keeps the common store
  uint16_t port = 0;
  std::string own_address;  ///< by which other machines reach this one; empty: gloo looks for it
  /// Whether this process keeps it; usually process 0 does, unless a launcher does so itself.
  bool serves_store = false;
  std::string prefix;             ///< of the names in a store that others use, too
  double timeout_seconds = 1800;  ///< to wait for the others
};

/// Processes joined by c10d in the plug-in.
class TorchProcessGroup : public ProcessGroup {
 public:
  /// For the engine of the same plug-in.
  virtual BertrandTorchGroup* border() = 0;
};

/// Waits until all processes are there. Throws Error: usage where the plug-in has no such backend,
/// runtime where the others do not come in time.
std::unique_ptr<TorchProcessGroup> make_torch_group(std::shared_ptr<const TorchPlugin> plugin,
                                                    const TorchGroupOptions& options);

}  // namespace bertrand
