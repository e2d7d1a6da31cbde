#!/bin/sh
# The codecs' C tests on other processors, emulated. Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
# gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
codec=$here/../../firmware_bridge/codec
board=$here/../safety/cortex_m4
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

for arch in ${*:-aarch64 cortex-m4}; do
    echo "$arch:"
    case $arch in
    aarch64)
        aarch64-linux-gnu-gcc -std=c99 -O2 -I"$here" -I"$codec" -static "$here"/*.c "$codec"/*.c -lm -o "$out/$arch"
        qemu-aarch64-static "$out/$arch"
        ;;
    cortex-m4)
        arm-none-eabi-gcc -std=c99 -O2 -I"$here" -I"$codec" -mcpu=cortex-m4 -mthumb -mfloat-abi=soft \
            --specs=rdimon.specs -T "$board/mps2_an386.ld" "$board/start.c" "$here"/*.c "$codec"/*.c -lm -o "$out/$arch"
        qemu-system-arm -M mps2-an386 -nographic -monitor none -serial none \
            -semihosting-config enable=on,target=native -kernel "$out/$arch"
        ;;
    *)
        echo "expected aarch64 or cortex-m4" >&2
        exit 2
        ;;
    esac
done
