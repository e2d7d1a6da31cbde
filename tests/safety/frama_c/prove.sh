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

# wp NAME GOALS OPTIONS...: every goal, and at least as many as when this was written. Steps, not seconds, end a proof
# that does not come, so that a busy machine changes nothing.
wp() {
    name=$1 least=$2 started=$(date +%s)
    shift 2
    frama-c $common -warn-right-shift-negative -warn-left-shift-negative -wp -wp-rte -wp-prover z3,cvc4 -wp-par 1 \
        -wp-steps 40000000 -wp-timeout 300 -wp-cache none "$@" >"$out/$name.log" 2>&1 || true
    counts=$(sed -n 's/.*Proved goals: *\([0-9]*\) *\/ *\([0-9]*\).*/\1 \2/p' "$out/$name.log")
    proved=${counts% *} goals=${counts#* } good=no
    if [ -n "$counts" ] && [ "$proved" = "$goals" ] && [ "$goals" -ge "$least" ]; then good=yes; fi
    row "$name" "WP: ${proved:-?} of ${goals:-?} goals (at least $least)" $good "$started"
}

eva units 5 -eva-precision 5 -eva-slevel 500 -eva-split-return full -eva-domains symbolic-locations,equality \
    -warn-special-float none $here/eva_units.c
eva sign 2 $safety/brake.c $here/eva_sign.c
# Every function of both files but safety_sign, which Eva has done.
lemmas=$(sed -n 's/.*static void \(lemma_[a-z]*\).*/\1/p' $safety/lemmas.h | paste -sd,)
wp lemmas 190 -wp-fct "$lemmas" $safety/brake.c
wp brake 490 -wp-skip-fct "safety_sign,$lemmas" $safety/brake.c
wp limiter 569 -wp-skip-fct "$lemmas" $safety/limiter.c
exit $failed
