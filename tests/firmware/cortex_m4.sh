#!/bin/sh
# The firmware's C tests on an emulated Cortex-M4: they hold there, and the servos are told the same as on this machine,
# to the last bit. Debian: gcc gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bridge=$here/../../firmware_bridge
board=$here/../safety/cortex_m4
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
flags="-std=c99 -O2 -I$here -I$here/../codec -I$bridge/firmware -I$bridge/codec -I$bridge/safety"
sources="$here/*.c $here/../codec/check.c $bridge/firmware/*.c $bridge/codec/*.c
    $bridge/safety/brake.c $bridge/safety/limiter.c $bridge/safety/units.c"
gcc $flags $sources -lm -o "$out/host"
arm-none-eabi-gcc $flags -mcpu=cortex-m4 -mthumb -mfloat-abi=soft --specs=rdimon.specs \
    -T "$board/mps2_an386.ld" "$board/start.c" $sources -lm -o "$out/cortex-m4"
"$out/host" | tee "$out/host.txt"
qemu-system-arm -M mps2-an386 -nographic -monitor none -serial none \
    -semihosting-config enable=on,target=native -kernel "$out/cortex-m4" | tee "$out/cortex-m4.txt"
cmp "$out/host.txt" "$out/cortex-m4.txt"
