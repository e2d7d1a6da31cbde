/* For Eva, which follows a shift of an unsigned integer where WP's provers do not: every 64-bit integer. */
#include "brake.h"

extern volatile int64_t any_value;

int main(void)
{
    const int64_t value = any_value;
    if (value < 0) {
        const int32_t negative = safety_sign(value);
        //@ assert negative == -1;
    } else {
        const int32_t positive = safety_sign(value);
        //@ assert positive == 1;
    }
    return 0;
}
