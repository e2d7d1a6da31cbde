#!/bin/sh
# Fuzzes the codecs with libFuzzer under ASan and UBSan, SECONDS each, and adds what reaches new code to the corpus:
#
#     tests/fuzz/run.sh [SECONDS [TARGET...]]
#
# Needs clang (Debian: clang). What breaks a law is left in build/fuzz and ends the run; fixed, it belongs in the corpus.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
codec=$here/../../firmware_bridge/codec
out=$here/../../build/fuzz
seconds=${1:-60}
[ $# -eq 0 ] || shift
mkdir -p "$out"
for target in ${*:-feetech dynamixel damiao bridge_serial bridge_can bridge_gate}; do
    echo "$target, $seconds s:"
    clang -std=c99 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -I"$codec" \
        "$codec"/*.c "$here/$target.c" -o "$out/$target"
    found=$(mktemp -d)
    mkdir -p "$here/corpus/$target"
    "$out/$target" -max_total_time="$seconds" -max_len=512 -timeout=5 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="$out/$target-" "$found" "$here/corpus/$target"
    "$out/$target" -set_cover_merge=1 -verbosity=0 "$here/corpus/$target" "$found"
    rm -r "$found"
    ls "$here/corpus/$target" | wc -l
done
