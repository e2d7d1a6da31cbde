/* The firmware on a virtual clock, judged by the bytes that emulated servos decode and by what goes up to the computer.
 */
#include <stdio.h>

#include "bench.h"

int main(void)
{
    make_table();
    test_table();
    test_targets();
    test_servo_bus();
    test_drives();
    test_power_up();
    test_motion();
    test_stop();
    test_faults();
    test_wire();
    printf("firmware: everything holds; what the servos were told: %08lx\n", (unsigned long)everything_told());
    return 0;
}
