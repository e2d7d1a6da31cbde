#!/bin/sh
# Builds the firmware for MPS2 AN386 into a directory (default build/firmware): firmware.elf, its size and its stack.
# Debian: gcc-arm-none-eabi libnewlib-arm-none-eabi.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bridge=$here/../../..
# As CMakeLists.txt does it: two ends with different wire headers must refuse each other.
wire=$(sha256sum "$bridge/codec/bridge_wire.h" | cut -c 1-8)
grep -q "BRIDGE_PROTOCOL UINT32_C(0x$wire)" "$bridge/codec/bridge.h" || {
    echo "bridge_wire.h has changed: set BRIDGE_PROTOCOL in bridge.h to 0x$wire" >&2
    exit 1
}
mkdir -p "${1:-build/firmware}"
cd "${1:-build/firmware}"
rm -f ./*.o ./*.su
flags="-std=c99 -Os -g -mcpu=cortex-m4 -mthumb -mfloat-abi=soft -ffreestanding -ffunction-sections -fdata-sections
    -fstack-usage -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"
codec=$bridge/codec
arm-none-eabi-gcc $flags -I"$here" -I"$bridge/firmware" -I"$codec" -I"$bridge/safety" -c \
    "$here"/*.c "$bridge"/firmware/*.c "$bridge/safety/brake.c" "$bridge/safety/limiter.c" \
    "$codec/bridge.c" "$codec/bridge_gate.c" "$codec/bridge_serial.c" "$codec/cobs.c" "$codec/crc32.c" "$codec/feetech.c"
arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -mfloat-abi=soft -nostartfiles --specs=nano.specs -Wl,--gc-sections \
    -Wl,--fatal-warnings -T "$here/link.ld" ./*.o -o firmware.elf
arm-none-eabi-size firmware.elf
"${PYTHON:-python3}" "$here/../../stack_bound.py" firmware.elf
