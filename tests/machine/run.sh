#!/bin/sh
# The service on a Debian with a running systemd: unpacks one into build/, boots it in a container, installs the project there
# as a person would, and lets it be used, crashed, hung, restarted and cut off. The arm is emulated outside, so that it lives
# on when the machine goes down. Needs root, and a network for the first time; minutes.
#
#   tests/machine/run.sh PYTHON      PYTHON: this machine's interpreter with the project's packages, .venv/bin/python
set -eu

python=$1
checkout=$(cd "$(dirname "$0")/../.." && pwd)
debian=$checkout/build/systemd-debian
cd "$checkout"

stop() {
    echo "systemd tests cannot run: $1" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || stop "a system is booted in a container: run it as root"
command -v systemd-nspawn >/dev/null || stop "no systemd-nspawn (Debian: apt-get install systemd-container)"
command -v debootstrap >/dev/null || stop "no debootstrap (Debian: apt-get install debootstrap)"

# The release of this machine: its wheels are built for this interpreter.
if [ ! -e "$debian/complete" ]; then
    rm -rf "$debian"
    mkdir -p "$debian/wheels"
    # shellcheck source=/dev/null
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,udev,python3-venv,python3-dev,build-essential \
        "$release" "$debian/root" >"$debian/debootstrap.log" 2>&1 ||
        stop "debootstrap failed: see $debian/debootstrap.log"
    "$python" - <<'END' >"$debian/requirements.txt"
try:
    import tomllib
except ImportError:
    import tomli as tomllib
with open("pyproject.toml", "rb") as file:
    said = tomllib.load(file)
extras = said["project"]["optional-dependencies"]
print("pip", "setuptools", "wheel", "cmake", "ninja", sep="\n")
print(*said["build-system"]["requires"], *said["project"]["dependencies"], *extras["record"], *extras["sign"], sep="\n")
END
    "$python" -m pip wheel --quiet --wheel-dir "$debian/wheels" --requirement "$debian/requirements.txt"
    touch "$debian/complete"
fi

EDGEARM_DEBIAN=$debian exec "$python" -m pytest -p no:cacheprovider -v tests/machine
