#!/bin/sh
# The safety limiter's vectors on other processors, emulated. Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross
# qemu-user-static gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm. Minutes on a busy machine.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
safety=$here/../../firmware_bridge/safety
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
flags="-std=c99 -O2 -I$here -I$safety"
sources="$here/support.c $here/vectors.c $here/vectors_main.c $safety/brake.c $safety/limiter.c"

for arch in ${*:-aarch64 cortex-m4}; do
    echo "$arch:"
    case $arch in
    aarch64)
        aarch64-linux-gnu-gcc $flags -static $sources -o "$out/$arch"
        qemu-aarch64-static "$out/$arch" check
        ;;
    cortex-m4)
        arm-none-eabi-gcc $flags -mcpu=cortex-m4 -mthumb -mfloat-abi=soft --specs=rdimon.specs \
            -T "$here/cortex_m4/mps2_an386.ld" "$here/cortex_m4/start.c" $sources -o "$out/$arch"
        qemu-system-arm -M mps2-an386 -nographic -monitor none -serial none \
            -semihosting-config enable=on,target=native,arg=vectors,arg=check -kernel "$out/$arch"
        ;;
    *)
        echo "expected aarch64 or cortex-m4" >&2
        exit 2
        ;;
    esac
done
