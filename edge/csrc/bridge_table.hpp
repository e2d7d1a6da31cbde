// The table that the firmware of a described arm must have, by the code that writes the firmware's own.
#pragma once

#include "arm.hpp"

extern "C" {
#include "arm_description.h"
}

namespace edgearm {

// Of an arm behind a microcontroller. Throws Error(arm) when the limits cannot be kept in the microcontroller's ticks.
arm_table bridge_table(const Arm& arm);

}  // namespace edgearm
