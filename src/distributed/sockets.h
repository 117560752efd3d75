#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "distributed/descriptor.h"

namespace bertrand {

/// Listens on the port of this machine, by IPv6 and IPv4 where there are both. Where it cannot the
/// number is -1, and errno says why.
Descriptor listen_on(uint16_t port);

/// A connection to the port of a host, made within so many seconds; else -1 and why.
Descriptor connect_to(const std::string& host, uint16_t port, double seconds, std::string& why);

/// The number ("10.0.0.5") of a connection's own end, or of the other one. Empty where it has none.
std::string own_number(int socket);
std::string other_number(int socket);

/// All of the bytes, within so many seconds of silence (0: however long it takes). False where the
/// other end is closed or silent; errno is EAGAIN where it is silent.
bool send_all(int socket, std::span<const std::byte> bytes);
bool receive_all(int socket, std::span<std::byte> bytes);
void set_patience(int socket, double seconds);

/// Makes the system find out within some minutes that the other machine is gone without a word.
void keep_alive(int socket);

}  // namespace bertrand
