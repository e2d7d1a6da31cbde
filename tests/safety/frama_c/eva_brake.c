/* For Eva, which knows intervals and no products of unknowns: every limit that safety_limits_from lets through, cut
 * into boxes whose sides are half as long again as they begin; in each, every velocity and acceleration. */
#include "brake.h"

#include "__fc_builtin.h"

extern volatile int64_t any_value;
extern volatile int any_choice;

static void sign(void)
{
    const int64_t value = any_value;
    if (value < 0) {
        const int32_t negative = safety_sign(value);
        //@ assert negative == -1;
    } else {
        const int32_t positive = safety_sign(value);
        //@ assert positive == 1;
    }
}

static void released(int32_t acceleration, int32_t jerk)
{
    const int64_t mildest = acceleration;
    const int64_t steepest = jerk + jerk / 2;
    if (mildest * (mildest / steepest + 1) > 1 << 27 || mildest / steepest >= 1024) {
        return;
    }
    const int32_t full = acceleration + acceleration / 2;
    const safety_limits limits = {.max_velocity = 1 << 27,
                                  .max_acceleration = Frama_C_interval(acceleration, full),
                                  .max_jerk = Frama_C_interval(jerk, jerk + jerk / 2),
                                  .release = Frama_C_interval(16, 1 << 27)};
    safety_released(&limits, Frama_C_interval(-(5 << 26), 5 << 26), Frama_C_interval(-full, full));
}

int main(void)
{
    sign();
    //@ loop unroll 64;
    for (int32_t acceleration = 16; acceleration <= 1 << 26; acceleration += acceleration / 2) {
        //@ loop unroll 64;
        for (int32_t jerk = 16; jerk <= 1 << 27; jerk += jerk / 2) {
            if (any_choice) { /* a box without a good limit ends only itself */
                released(acceleration, jerk);
            }
        }
    }
    return 0;
}
