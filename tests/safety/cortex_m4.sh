#!/bin/sh
# The safety limiter's vectors on an emulated Cortex-M4 (on aarch64: tests/aarch64/run.sh). Debian: gcc-arm-none-eabi
# libnewlib-arm-none-eabi qemu-system-arm. Minutes on a busy machine.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
safety=$here/../../firmware_bridge/safety
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

arm-none-eabi-gcc -std=c99 -O2 -I"$here" -I"$safety" -mcpu=cortex-m4 -mthumb -mfloat-abi=soft --specs=rdimon.specs \
    -T "$here/cortex_m4/mps2_an386.ld" "$here/cortex_m4/start.c" "$here/support.c" "$here/vectors.c" \
    "$here/vectors_main.c" "$safety/brake.c" "$safety/limiter.c" -o "$out/program"
qemu-system-arm -M mps2-an386 -nographic -monitor none -serial none \
    -semihosting-config enable=on,target=native,arg=vectors,arg=check -kernel "$out/program"
