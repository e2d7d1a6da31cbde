#!/bin/sh
# SocketCAN against a kernel that knows CAN: boots Debian's in qemu, with its modules and one static test program, and
# believes what that program says. Needs no root and no network once the packages are there; about a minute.
#
#   tests/native/vcan/run.sh BUILD_FOLDER
set -eu

build=$1
work=$build/vcan
program=$build/tests/native/edgearm_vcan_tests

skip() {
    echo "SocketCAN tests skipped: $1"
    exit 0
}

command -v qemu-system-x86_64 >/dev/null || skip "no qemu-system-x86_64 (Debian: apt-get install qemu-system-x86)"
command -v cpio >/dev/null || skip "no cpio (Debian: apt-get install cpio)"
[ -x "$program" ] || { echo "$program is not built"; exit 1; }

mkdir -p "$work/packages"
if [ ! -e "$work/unpacked/done" ]; then
    command -v apt-get >/dev/null || skip "no apt-get to fetch Debian's kernel with"
    kernel=$(apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
    [ -n "$kernel" ] || skip "apt knows no linux-image-amd64 (apt-get update?)"
    (cd "$work/packages" && apt-get download -q "$kernel" busybox-static >/dev/null 2>&1) ||
        skip "$kernel and busybox-static cannot be downloaded"
    rm -rf "$work/unpacked"
    mkdir "$work/unpacked"
    for package in "$work"/packages/*.deb; do
        dpkg-deb -x "$package" "$work/unpacked"
    done
    touch "$work/unpacked/done"
fi

root=$work/root
rm -rf "$root"
mkdir -p "$root/bin" "$root/modules"
cp "$(find "$work/unpacked" -path '*/bin/busybox')" "$root/bin/busybox"
for module in net/can/can net/can/can-raw drivers/net/can/dev/can-dev drivers/net/can/vcan drivers/net/can/vxcan; do
    cp "$work"/unpacked/lib/modules/*/kernel/$module.ko "$root/modules/"
done
ln -s busybox "$root/bin/sh"  # the tests use it to switch interfaces
cp "$program" "$root/"
cp "$(dirname "$0")/init" "$root/init"
chmod +x "$root/init"
(cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/initrd.gz"

# Emulated, not virtualised: slower, and the same everywhere. On a busy machine the emulated timer comes too late for the
# kernel's check that there is one.
timeout 600 qemu-system-x86_64 -accel tcg -m 256 -nographic -nic none -no-reboot \
    -kernel "$(ls "$work"/unpacked/boot/vmlinuz-*)" -initrd "$work/initrd.gz" \
    -append "console=ttyS0 quiet panic=-1 no_timer_check" </dev/null >"$work/console.log" 2>&1 || true
sed -n '/doctest\|test_vcan\|TEST CASE\|ERROR\|no module/p' "$work/console.log"
grep -q "exit status 0" "$work/console.log" || { echo "failed; the console is in $work/console.log"; exit 1; }
