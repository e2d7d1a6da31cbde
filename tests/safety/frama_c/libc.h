/* What Eva is told of two functions of the C library that Frama-C declares without a contract: assumed, not proved. */
#include <math.h>

/*@ requires -0x1p40 <= x <= 0x1p40;
    assigns \result \from x;
    ensures -(1 << 40) <= \result <= 1 << 40;
*/
long long llround(double x);

/* Of two numbers. */
double fmin(double x, double y)
{
    return x < y ? x : y;
}
