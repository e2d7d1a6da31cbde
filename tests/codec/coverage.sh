#!/bin/sh
# Line and branch coverage of firmware_bridge/codec by its C tests; fails below 100 %. Needs gcc and gcov.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
codec=$here/../../firmware_bridge/codec
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cd "$out"
gcc -std=c99 -O0 --coverage -I"$codec" -c "$codec"/*.c
mkdir tests
(cd tests && gcc -std=c99 -O1 -I"$here" -I"$codec" -c "$here"/*.c)
gcc --coverage ./*.o tests/*.o -lm -o codec_tests
./codec_tests
gcov --branch-probabilities ./*.gcda >report
grep -A4 "^File '.*firmware_bridge/codec/.*c'" report
if grep -A4 "^File '.*firmware_bridge/codec/.*c'" report | grep -E '^(Lines|Taken)' | grep -v ':100.00%'; then
    echo "below 100 %" >&2
    exit 1
fi
