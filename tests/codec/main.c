/* The codecs, in C alone: golden vectors, what is refused, and how parsers find their way again. */
#include <stdio.h>

#include "check.h"

int main(void)
{
    test_crc32();
    test_cobs();
    test_feetech();
    test_dynamixel();
    test_damiao();
    test_bridge();
    test_bridge_serial();
    test_bridge_can();
    test_bridge_gate();
    printf("codecs: everything holds\n");
    return 0;
}
