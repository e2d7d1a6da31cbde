/* For Eva: every physical limit, tick and position that is a number or infinite. */
#include "brake.h"

#include "__fc_builtin.h"
#include "libc.h"

extern volatile double any_double;
extern volatile int64_t any_position;

/* In place of the brake: Eva takes for granted what a function requires, and whether the limits are good is the
 * question here. The range is that of the function's contract. */
static int32_t some_released(const safety_limits *limits, int32_t velocity, int32_t acceleration)
{
    return Frama_C_interval(-(1 << 30), 1 << 30);
}

static safety_path some_stop(const safety_limits *limits, int32_t velocity, int32_t acceleration)
{
    return (safety_path){any_position, any_position};
}

#define safety_released some_released
#define safety_stop some_stop
#include "units.c"

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
