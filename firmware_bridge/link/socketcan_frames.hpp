// Frames, errors and interfaces as Linux writes them (linux/can.h, net/if.h), and as everybody else here does. Needs no
// kernel that knows CAN.
#pragma once

#include <linux/can.h>

#include <cstddef>
#include <optional>
#include <string>

#include "can_link.hpp"
#include "link_error.hpp"

namespace edgearm::link {

// Fills `raw` and returns how many bytes of it are to be written: classic frames and CAN FD frames differ in nothing
// but that for the kernel. 0 for a frame that no bus can carry.
std::size_t to_kernel(const CanFrame& frame, canfd_frame& raw) noexcept;

// False when `size` bytes of `raw` are no frame of data: another size, an impossible length, or the report of an error.
bool from_kernel(const canfd_frame& raw, std::size_t size, CanFrame& frame) noexcept;

bool is_error_report(const canfd_frame& raw) noexcept;

// Why nothing can be sent on an interface with these flags (SIOCGIFFLAGS): it is switched off, or was off the bus
// before anybody could hear the report of that. Its carrier is gone then, and it is up without running.
std::optional<Error> out_of_use(const std::string& interface, int flags);

// The controller's state after an error report, `before` where it does not say.
BusState state_after(const canfd_frame& report, BusState before) noexcept;

}  // namespace edgearm::link
