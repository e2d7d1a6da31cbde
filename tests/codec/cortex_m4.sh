#!/bin/sh
# The codecs' C tests on an emulated Cortex-M4 (on aarch64: tests/aarch64/run.sh). Debian: gcc-arm-none-eabi
# libnewlib-arm-none-eabi qemu-system-arm.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
codec=$here/../../firmware_bridge/codec
board=$here/../safety/cortex_m4
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

arm-none-eabi-gcc -std=c99 -O2 -I"$here" -I"$codec" -mcpu=cortex-m4 -mthumb -mfloat-abi=soft \
    --specs=rdimon.specs -T "$board/mps2_an386.ld" "$board/start.c" "$here"/*.c "$codec"/*.c -lm -o "$out/program"
qemu-system-arm -M mps2-an386 -nographic -monitor none -serial none \
    -semihosting-config enable=on,target=native -kernel "$out/program"
