// Why a link could not be opened: what is wrong, expected, got, and what to do. Nothing throws once a link is open.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace edgearm::link {

struct Error : std::runtime_error {
    enum class Cause {
        missing,      // no such port or interface
        denied,       // it is there, and not for this user
        busy,         // another program has it
        wrong,        // it is something else: not a terminal, not a CAN interface, not an slcan adapter
        unsupported,  // the kernel, the driver or the adapter cannot do what is asked
        down,         // the interface is switched off
        bus_off,      // its controller has left the bus after too many errors
        broken,       // anything else the system said
    };

    Error(Cause why, const std::string& what, std::string wanted, std::string came, std::string advice)
        : std::runtime_error(what),
          cause(why),
          expected(std::move(wanted)),
          got(std::move(came)),
          fix(std::move(advice)) {}

    Cause cause;
    std::string expected;
    std::string got;
    std::string fix;
};

}  // namespace edgearm::link
