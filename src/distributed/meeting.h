#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "distributed/descriptor.h"
#include "distributed/process_group.h"

namespace bertrand {

/// Where the processes of a run meet, and how long they wait.
struct MeetingOptions {
  ProcessPlace place;
  std::string address;  ///< of rank 0's machine
  uint16_t port = 0;    ///< on which rank 0 listens, until all are there
  double timeout_seconds = 1800;
  /// Told who is waited for: after so many seconds first, then every minute.
  std::function<void(const std::string& sentence)> tell = {};
  double tell_after_seconds = 10;
  std::string machine = {};  ///< the same for all processes of a machine; empty: found
};

/// The processes of a run over plain connections to rank 0, before they know whether anything else
/// joins them: enough to compare versions and to tell of failures, too slow for gradients. Signals
/// end a process that waits here, as they do anywhere.
class Meeting final : public ProcessGroup {
 public:
  /// Returns when all processes are there. Throws Error: usage where rank 0 cannot listen on the
  /// port or two processes have one rank; elsewhere where others do not come in time or end, naming
  /// them.
  explicit Meeting(const MeetingOptions& options);

  ProcessPlace place() const override { return place_; }
  void sum(std::span<double> values) override;
  void sum(std::span<float> values) override;
  void broadcast(std::span<std::byte> bytes, unsigned root) override;
  void barrier() override;

  unsigned machines() const { return machines_; }

  /// The same for all processes of this one's machine.
  const std::string& machine() const { return machine_; }

  /// Processes on this one's machine.
  unsigned local_count() const { return local_count_; }

  /// This machine's address in the network that all machines were met by; empty where there is but
  /// one machine.
  const std::string& own_address() const { return own_address_; }

  /// The connections, by rank; but for rank 0 only the first is open. The meeting is over.
  std::vector<Descriptor> take_connections() { return std::move(others_); }

 private:
  friend class MeetingHost;
  friend class MeetingGuest;

  void send(unsigned rank, std::span<const std::byte> bytes) const;
  void receive(unsigned rank, std::span<std::byte> bytes) const;
  template <typename Value>
  void sum_of(std::span<Value> values);

  ProcessPlace place_;
  std::vector<Descriptor> others_;  ///< by rank; but for rank 0 only the first is open
  unsigned machines_ = 1, local_count_ = 1;
  std::string machine_, own_address_;
};

}  // namespace bertrand
