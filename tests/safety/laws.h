/* The laws of the safety limiter, each a function that ends the program when it finds a counterexample. */
#ifndef EDGEARM_TESTS_SAFETY_LAWS_H
#define EDGEARM_TESTS_SAFETY_LAWS_H

#include <stdint.h>

/* laws_brake.c */
void brake_is_the_defined_one(uint64_t seed, int64_t states);

/* laws_limits.c */
void limits_are_never_crossed(uint64_t seed, int64_t steps);
void states_are_admissible_to_the_last_unit(uint64_t seed, int64_t states);
void a_joint_outside_only_comes_back(uint64_t seed, int64_t joints);

/* laws_motion.c */
void admissible_trajectories_pass_unchanged(uint64_t seed, int64_t steps);
void constant_goals_are_reached_without_overshoot(uint64_t seed, int64_t goals);
void ticks_may_be_cut_anywhere(uint64_t seed, int64_t cuts);
void every_servo_tick_is_reached(void);

/* laws_edges.c */
void edges_are_where_they_are_said_to_be(void);
void what_cannot_stop_in_time_brakes(uint64_t seed, int64_t states);
void flags_name_the_limits(void);

/* laws_units.c */
void bad_limits_are_refused_by_name(void);
void limits_are_rounded_to_the_safe_side(uint64_t seed);
void roundings_are_not_trusted(void);
void positions_are_converted_exactly(uint64_t seed);

#endif
