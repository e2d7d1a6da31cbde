#!/bin/sh
# Line and branch coverage of firmware_bridge/firmware by its C tests; fails below 100 %. Needs gcc and gcov.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bridge=$here/../../firmware_bridge
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cd "$out"
include="-I$bridge/firmware -I$bridge/codec -I$bridge/safety -I$here -I$here/../codec"
gcc -std=c99 -O0 --coverage $include -c "$bridge"/firmware/*.c
mkdir rest
(cd rest && gcc -std=c99 -O1 $include -c "$here"/*.c "$here/../codec/check.c" "$bridge"/codec/*.c "$bridge"/safety/*.c)
gcc --coverage ./*.o rest/*.o -lm -o firmware_tests
./firmware_tests
gcov --branch-probabilities ./*.gcda >report
grep -A4 "^File '.*firmware_bridge/firmware/.*c'" report
if grep -A4 "^File '.*firmware_bridge/firmware/.*c'" report | grep -E '^(Lines|Taken)' | grep -v ':100.00%'; then
    [ $# -eq 0 ] || grep -l . ./*.gcov | xargs grep -B8 -E '#####|(branch|never).*(never|taken 0%)' | head -"$1"
    echo "below 100 %" >&2
    exit 1
fi
