#!/bin/sh
# The service on a Debian or Ubuntu with a running systemd: unpacks one into build/, boots it in a container, installs the
# project there as a person would, and lets it be used, crashed, hung, restarted and cut off. The arm is emulated outside,
# so that it lives on when the machine goes down. Needs root, and a network for the first time; minutes.
#
#   tests/machine/run.sh PYTHON [RELEASE]
#
# PYTHON: this machine's interpreter with the project's packages, .venv/bin/python.
# RELEASE: this machine's own if left out; jammy and noble are what JetPack 6 and 7 are made of.
set -eu

python=$1
checkout=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=/dev/null
release=${2:-$(. /etc/os-release && echo "$VERSION_CODENAME")}
system=$checkout/build/systemd-$release
cd "$checkout"

stop() {
    echo "systemd tests cannot run: $1" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || stop "a system is booted in a container: run it as root"
command -v systemd-nspawn >/dev/null || stop "no systemd-nspawn (Debian: apt-get install systemd-container)"
command -v debootstrap >/dev/null || stop "no debootstrap (Debian: apt-get install debootstrap)"

[ -e "$system/complete" ] || tests/machine/unpack.sh "$release" "$system" "$python"
EDGEARM_SYSTEM=$system exec "$python" -m pytest -p no:cacheprovider -v tests/machine
