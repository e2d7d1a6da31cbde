/* Checks, or writes, the vectors that every architecture must reproduce to the bit:
 *
 *     safety_vectors check          against vectors.inc, compiled in: nothing is read, so it runs without a system
 *     safety_vectors                prints a vectors.inc made here
 */
#include <stdio.h>
#include <string.h>

#include "vectors.h"

#define WRITTEN 300
#define HASHED 1000000

static const struct {
    int64_t position;
    int32_t velocity;
    int32_t acceleration;
    unsigned flags;
} expected[] = {
#include "vectors.inc"
};

static int write_out(void)
{
    safety_run run = run_from(1);
    for (int step = 0; step < HASHED; ++step) {
        run_on(&run);
        if (step < WRITTEN) {
            printf("{%lld, %ld, %ld, %u},\n", (long long)run.state.position, (long)run.state.velocity,
                   (long)run.state.acceleration, run.flags);
        }
    }
    /* The hash, in the place of a last position. */
    printf("{%lld, 0, 0, 0},\n", (long long)run.hash);
    return 0;
}

static int check(void)
{
    safety_run run = run_from(1);
    for (int step = 0; step < HASHED; ++step) {
        run_on(&run);
        if (step < WRITTEN &&
            (run.state.position != expected[step].position || run.state.velocity != expected[step].velocity ||
             run.state.acceleration != expected[step].acceleration || run.flags != expected[step].flags)) {
            printf("safety vectors: step %d differs\n", step);
            return 1;
        }
    }
    if ((int64_t)run.hash != expected[WRITTEN].position) {
        printf("safety vectors: the hash of %d steps differs\n", HASHED);
        return 1;
    }
    printf("safety vectors: %d steps are the same to the bit\n", HASHED);
    return 0;
}

int main(int count, char **arguments)
{
    return count > 1 && strcmp(arguments[1], "check") == 0 ? check() : write_out();
}
