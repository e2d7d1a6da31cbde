#!/bin/sh
# Line and branch coverage of firmware_bridge/safety by its laws; fails below 100 %. Needs gcc and gcov.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
safety=$here/../../firmware_bridge/safety
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cd "$out"
gcc -std=c99 -O0 --coverage -I"$safety" -c "$safety"/*.c
gcc -std=c99 -O1 -I"$here" -I"$safety" -c "$here"/laws_*.c "$here/support.c"
gcc --coverage ./*.o -lm -o laws
./laws "${1:-100000}"
gcov --branch-probabilities brake.gcda limiter.gcda units.gcda >report
grep -A4 "^File '.*firmware_bridge/safety/" report
# Every line and branch figure of ours must be 100 %.
if grep -A4 "^File '.*firmware_bridge/safety/" report | grep -E '^(Lines|Taken)' | grep -v ':100.00%'; then
    echo "below 100 %" >&2
    exit 1
fi
