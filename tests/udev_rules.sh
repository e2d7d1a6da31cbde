#!/bin/sh
# What udev makes of a device that is described and not there: /dev, udev's memory, rules and groups are this process's own.
#
#   tests/udev_rules.sh DEVICES SYSPATH       as root; DEVICES as umockdev reads them
set -eu
if [ -z "${UDEV_RULES_INSIDE:-}" ]; then
    UDEV_RULES_INSIDE=$(mktemp -d) && export UDEV_RULES_INSIDE
    trap 'rmdir "$UDEV_RULES_INSIDE"' EXIT
    unshare --mount --propagation private "$0" "$@"
    exit
fi
mount -t tmpfs tmpfs "$UDEV_RULES_INSIDE"
cp -a /dev/null /dev/zero /dev/random /dev/urandom /dev/ptmx "$UDEV_RULES_INSIDE"
mkdir "$UDEV_RULES_INSIDE/pts"
mount --bind /dev/pts "$UDEV_RULES_INSIDE/pts" # umockdev makes a terminal of each described one
{
    cat /etc/group
    echo edgearm:x:4711:
} >"$UDEV_RULES_INSIDE/group"
mount --bind "$UDEV_RULES_INSIDE/group" /etc/group
mount -t tmpfs tmpfs /run
mkdir -p /run/udev/rules.d
cp "$(dirname "$0")/../deploy/99-edgearm.rules" /run/udev/rules.d
mount --rbind "$UDEV_RULES_INSIDE" /dev
exec umockdev-run --device "$1" -- udevadm test --action=add "$2" 2>&1
