/* For Eva: every physical limit, tick and position that is a number or infinite. */
#include "units.c"

#include "libc.h"

extern volatile double any_double;
extern volatile int64_t any_position;

/* Eva does not see that a comparison which holds excludes what is not a number: that case is left to the laws. */
static double any_number(void)
{
    const double number = any_double;
    //@ admit !\is_NaN(number);
    return number;
}

int main(void)
{
    const safety_physical physical = {any_number(), any_number(), any_number(), any_number(), any_number()};
    safety_limits limits;
    if (safety_limits_from(&physical, any_number(), &limits) == SAFETY_LIMITS_OK) {
        //@ assert -(1 << 40) <= limits.lower <= 1 << 40 && -(1 << 40) <= limits.upper <= 1 << 40;
        //@ assert 16 <= limits.max_velocity <= 1 << 27;
        //@ assert 16 <= limits.max_acceleration <= 1 << 26;
        //@ assert 16 <= limits.max_jerk <= 1 << 27;
    }
    int64_t position;
    if (safety_position_from(any_number(), &position)) {
        //@ assert -(1 << 40) <= position <= 1 << 40;
    }
    safety_position_to(any_position);
    return 0;
}
