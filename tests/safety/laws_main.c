/* The laws of the safety limiter with as many random steps as asked for (10^7 unless told), from one seed:
 *
 *     safety_laws [steps [seed]]
 */
#include <stdio.h>
#include <stdlib.h>

#include "laws.h"

int main(int count, char **arguments)
{
    const int64_t steps = count > 1 ? atoll(arguments[1]) : 10000000;
    const uint64_t seed = count > 2 ? strtoull(arguments[2], NULL, 0) : 1;
    flags_name_the_limits();
    edges_are_where_they_are_said_to_be();
    bad_limits_are_refused_by_name();
    limits_are_rounded_to_the_safe_side(seed);
    roundings_are_not_trusted();
    positions_are_converted_exactly(seed);
    brake_is_the_defined_one(seed, 100 + steps / 1000);
    what_cannot_stop_in_time_brakes(seed, 1000 + steps / 100);
    ticks_may_be_cut_anywhere(seed, 50 + steps / 10000);
    constant_goals_are_reached_without_overshoot(seed, 20 + steps / 10000);
    states_are_admissible_to_the_last_unit(seed, 10000 + steps / 100);
    a_joint_outside_only_comes_back(seed, 20 + steps / 10000);
    admissible_trajectories_pass_unchanged(seed, steps / 10);
    limits_are_never_crossed(seed, steps);
    if (steps >= 1000000) {
        every_servo_tick_is_reached();
    }
    printf("safety limiter: every law holds, %lld steps, seed %llu\n", (long long)steps, (unsigned long long)seed);
    return 0;
}
