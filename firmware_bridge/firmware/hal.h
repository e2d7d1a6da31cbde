/* What the firmware needs of the machine that it runs on. Every port defines these functions (ports/), and so do the
 * tests. None of them waits.
 */
#ifndef EDGEARM_FIRMWARE_HAL_H
#define EDGEARM_FIRMWARE_HAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The line to the computer. Reading returns how many bytes there were, at most `most`. Sending takes all or nothing. */
size_t hal_upward_read(uint8_t *to, size_t most);
bool hal_upward_send(const uint8_t *bytes, size_t count);

/* The servo bus, likewise: one wire for both directions, so a port that hears itself is none the worse for it. */
size_t hal_bus_read(uint8_t *to, size_t most);
bool hal_bus_send(const uint8_t *bytes, size_t count);

/* The emergency-stop input. A broken wire has to read as pressed. */
bool hal_stop_pressed(void);

/* Whether this start is the watchdog's doing. */
bool hal_watchdog_reset(void);

/* The watchdog is running before the firmware is; it restarts the machine when this is not called. */
void hal_kick_watchdog(void);

#endif
