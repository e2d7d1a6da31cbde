// Whether a test runs on an emulated processor (cmake/aarch64-linux-gnu.cmake), where not everything is the program's
// own.
#pragma once

#include <cstdlib>

namespace edgearm::test {

inline bool emulated() {
    return std::getenv("EDGEARM_EMULATED") != nullptr;
}

}  // namespace edgearm::test
