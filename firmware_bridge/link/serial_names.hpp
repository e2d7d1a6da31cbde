// What the system tells about a serial port besides its bytes: its lasting name, and who else has it.
#pragma once

#include <string>

namespace edgearm::link {

// The name under which the adapter at `path` is found again when it was unplugged: the link in DEVICES/serial/by-id
// that leads to the same device, or in by-path when the adapter has no serial number. A `path` that is a link itself
// was chosen by somebody and is kept, as is one that nothing leads to.
std::string stable_name(const std::string& path, const std::string& devices = "/dev",
                        const std::string& system = "/sys");

// The process that holds the port, for a person: "process 812 (picocom)". Empty when the system does not tell.
std::string holder_of(const std::string& path);

}  // namespace edgearm::link
