#!/bin/sh
# What Frama-C can prove of the safety limiter, in minutes; docs/safety.md says what that is and what it is not. Fails
# when Eva raises an alarm, or when a goal of WP stays open that should not be.
set -eu
cd "$(dirname "$0")/../../.."
here=tests/safety/frama_c
safety=firmware_bridge/safety
out=build/frama_c

for tool in frama-c why3 z3 cvc4; do
    if ! command -v "$tool" >/dev/null; then
        echo "$tool is missing. On Debian: apt-get install --no-install-recommends frama-c-base why3 z3 cvc4" >&2
        exit 2
    fi
done
mkdir -p "$out"
export WHY3CONFIG="$PWD/$out/why3.conf" # not the user's own
why3 config detect >"$out/why3.log" 2>&1

failed=0
common="-machdep gcc_x86_64 -cpp-extra-args=-I$safety -warn-signed-downcast"

# row NAME FINDING IS_GOOD STARTED
row() {
    if [ "$3" = yes ]; then verdict=ok; else verdict="FAILED: $out/$1.log" failed=1; fi
    printf '%-10s %-46s %4d s  %s\n' "$1" "$2" $(($(date +%s) - $4)) "$verdict"
}

# eva NAME ASSERTIONS OPTIONS...: no alarm, no postcondition in doubt, and that many assertions, all valid.
eva() {
    name=$1 asserted=$2 started=$(date +%s)
    shift 2
    frama-c $common -eva "$@" >"$out/$name.log" 2>&1 || true
    alarms=$(sed -n 's/^ *\([0-9]*\) alarms\{0,1\} generated.*/\1/p' "$out/$name.log")
    valid=$(sed -n 's/^ *Assertions *\([0-9]*\) valid.*/\1/p' "$out/$name.log")
    good=no
    if [ "$alarms" = 0 ] && [ "$valid" = "$asserted" ] && ! grep -q 'postcondition got status' "$out/$name.log"; then
        good=yes
    fi
    row "$name" "Eva: ${alarms:-?} alarms, ${valid:-?} of $asserted assertions" $good "$started"
}

# wp NAME GOALS FILE FUNCTIONS: every goal, and at least as many as when this was written.
wp() {
    started=$(date +%s)
    frama-c $common -warn-right-shift-negative -warn-left-shift-negative -wp -wp-rte -wp-prover z3,cvc4 -wp-par 1 \
        -wp-timeout 20 -wp-fct "$4" "$3" >"$out/$1.log" 2>&1 || true
    counts=$(sed -n 's/.*Proved goals: *\([0-9]*\) *\/ *\([0-9]*\).*/\1 \2/p' "$out/$1.log")
    proved=${counts% *} goals=${counts#* } good=no
    if [ -n "$counts" ] && [ "$proved" = "$goals" ] && [ "$goals" -ge "$2" ]; then good=yes; fi
    row "$1" "WP: ${proved:-?} of ${goals:-?} goals (at least $2)" $good "$started"
}

eva units 5 -eva-precision 5 -eva-slevel 500 -eva-split-return full -eva-domains symbolic-locations,equality \
    -warn-special-float none $here/eva_units.c
eva released 2 -eva-slevel 4 $safety/brake.c $here/eva_brake.c
wp brake 112 $safety/brake.c safety_larger,safety_smaller,positive_part,ramp_cost,safety_hardest,safety_braking
wp limiter 86 $safety/limiter.c clamp,reachable,next,no_farther,bounded,safety_at_rest
exit $failed
