#!/usr/bin/env bash
# Installs edgearm as a service: JetPack 6 and 7, Debian, Ubuntu. Run it again at any time; what is there stays.
set -euo pipefail

SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PREFIX=/opt/edgearm
STATE=/var/lib/edgearm
CONFIG=/etc/edgearm
UNIT=/etc/systemd/system/edgearm.service
DROPINS=$UNIT.d
RULES=/etc/udev/rules.d/99-edgearm.rules
LIMITS=/etc/security/limits.d/edgearm.conf
LLAMA=$(sed -n 's/.*"\(llama-cpp-python==[0-9.]*\)".*/\1/p' "$SOURCE/pyproject.toml")

usage() {
	cat <<EOF
usage: deploy/install.sh [OPTIONS]              install, or bring an installation up to date
       deploy/install.sh uninstall [--purge]    remove it; --purge also removes configuration, bundles and runs

  --dry-run       only say what would be done
  --bundle DIR    bundle to install and use (default: models/reference; an installed one in use is kept)
  --python FILE   interpreter, 3.10 to 3.12 (default: the system's)
  --wheels DIR    take Python packages from here and from nowhere else: no network (docs/deploy.md says which)
  --network       let the service reach cameras with an address, and CAN
  --no-start      enable the service but do not start it
  --help

example:
  sudo deploy/install.sh --dry-run
  sudo deploy/install.sh && sudoedit $CONFIG/config.toml && sudo systemctl restart edgearm && edge status
EOF
}

say() { printf '%-9s %s\n' "$1" "$2"; }
fail() {
	printf 'error: %s\n  fix: %s\n' "$1" "$2" >&2
	exit 2
}
# Does a command, or says it.
run() {
	if [ "$DRY" = 1 ]; then say would "$*"; else "$@"; fi
}
# Copies a file if it differs, and remembers that something changed.
put() {
	local from=$1 to=$2 mode=${3:-0644}
	if cmp -s "$from" "$to"; then
		say ok "$to"
		return
	fi
	say install "$to"
	run install -D -m "$mode" "$from" "$to"
	CHANGED=1
}
# Whether a service that runs does so in the environment in use: an installation may have been cut short before its restart.
runs_what_is_installed() {
	local process
	process=$(systemctl show --value --property=MainPID edgearm)
	[ "${process:-0}" = 0 ] || grep -q "$(readlink -f "$PREFIX/venv")/" "/proc/$process/maps"
}
has_systemd() { [ -d /run/systemd/system ]; }
has_udev() { [ -S /run/udev/control ]; } # not in a container

board() {
	# Prints the CUDA architecture of a Jetson, nothing elsewhere.
	[ -r /etc/nv_tegra_release ] || return 0
	case $(sed -n 's/^# R\([0-9]*\).*/\1/p' /etc/nv_tegra_release) in
	36) echo 87-real ;;      # JetPack 6: Orin
	38 | 39) echo 87-real\;110-real ;; # JetPack 7: Orin and Thor
	*) fail "this L4T release is not known: $(head -1 /etc/nv_tegra_release)" "use JetPack 6 or 7" ;;
	esac
}

find_python() {
	local candidate
	for candidate in ${PYTHON:+"$PYTHON"} python3 python3.12 python3.11 python3.10; do
		if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null; then
			command -v "$candidate"
			return
		fi
		[ -z "${PYTHON:-}" ] || break
	done
	fail "no Python 3.10, 3.11 or 3.12 found" "install one, or name it: --python FILE"
}

packages() {
	local wanted=(python3-venv python3-dev build-essential) missing=() name
	command -v apt-get >/dev/null || fail "apt-get is not here" "this script is for Debian, Ubuntu and JetPack"
	for name in "${wanted[@]}"; do dpkg -s "$name" >/dev/null 2>&1 || missing+=("$name"); done
	if [ ${#missing[@]} = 0 ]; then
		say ok "Debian packages"
		return
	fi
	say install "Debian packages: ${missing[*]}"
	run apt-get update -q
	run apt-get install -qy --no-install-recommends "${missing[@]}"
}

account() {
	if getent passwd edgearm >/dev/null; then
		say ok "user edgearm"
	else
		say install "user edgearm"
		getent group edgearm >/dev/null || run groupadd --system edgearm
		run useradd --system --gid edgearm --home-dir "$STATE" --no-create-home --shell /usr/sbin/nologin edgearm
	fi
	run install -d -o edgearm -g edgearm -m 0750 "$STATE"
}

# Each environment has a folder of its own, named after what it was made of, and `venv` is a link to the one in use: the
# service runs on until the new one is whole, and whatever goes wrong before that changes nothing.
environment() {
	local python=$1 arch=$2 made fresh before old pip
	made=$(cd "$SOURCE" && cat pyproject.toml CMakeLists.txt && find edge firmware_bridge -type f \
		\( -name '*.py' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.[ch]' -o -name '*.[ch]pp' -o -name '*.json' \) -print0 |
		sort -z | xargs -0 cat)
	made=$(printf '%s %s %s' "$made" "$("$python" --version)" "$arch" | sha256sum | cut -c1-12)
	fresh=$PREFIX/venv-$made
	before=$(readlink "$PREFIX/venv" || true)
	if [ "$before" = "venv-$made" ]; then
		say ok "$PREFIX/venv"
		return
	fi
	CHANGED=1
	say install "$fresh (builds llama.cpp and the core: minutes)"
	# TensorRT's Python package belongs to JetPack and is not on any index: the environment has to see the system's.
	run "$python" -m venv --clear ${arch:+--system-site-packages} "$fresh"
	pip=("$fresh/bin/python" -m pip install --quiet)
	[ -z "$WHEELS" ] || pip+=(--no-index --find-links "$WHEELS")
	run "${pip[@]}" --upgrade pip
	if [ -n "$arch" ] && [ -z "$WHEELS" ]; then # a wheel in DIR was built for this board, or the planner has no GPU
		run env CUDACXX=/usr/local/cuda/bin/nvcc CMAKE_ARGS="-DGGML_CUDA=on -DCMAKE_CUDA_ARCHITECTURES=$arch" \
			"${pip[@]}" --no-binary llama-cpp-python "$LLAMA"
	else
		run "${pip[@]}" "$LLAMA"
	fi
	run "${pip[@]}" "${SOURCE}[record,sign]"
	run install -D -m 0644 "$SOURCE/docs/deploy.md" "$PREFIX/share/docs/deploy.md"
	run sync --file-system "$PREFIX" # the files before the link to them, should the power fail
	say switch "$PREFIX/venv${before:+ from $before}"
	[ -L "$PREFIX/venv" ] || [ ! -e "$PREFIX/venv" ] || run mv "$PREFIX/venv" "$PREFIX/venv-plain" # as it once was
	run ln -sfn "venv-$made" "$PREFIX/venv.new"
	run mv -T "$PREFIX/venv.new" "$PREFIX/venv"
	run ln -sf "$PREFIX/venv/bin/edge" /usr/local/bin/edge
	# The one before is what the service runs in until it is restarted; older ones nobody needs.
	for old in "$PREFIX"/venv-*; do
		case $old in
		"$fresh" | "$PREFIX/$before" | "$PREFIX/venv-*") ;;
		*) run rm -rf "$old" ;;
		esac
	done
}

bundle() {
	local edge=$PREFIX/venv/bin/edge
	if [ -z "$BUNDLE" ] && [ -e "$STATE/current" ]; then
		say ok "bundle $(basename "$(readlink "$STATE/current")")"
		return
	fi
	say install "bundle ${BUNDLE:-$SOURCE/models/reference}"
	run "$edge" bundle install "${BUNDLE:-$SOURCE/models/reference}" --store "$STATE" --use
	run chown -R edgearm:edgearm "$STATE"
	CHANGED=1
}

service() {
	local verb
	put "$SOURCE/deploy/edgearm.service" "$UNIT"
	[ -z "$1" ] || put "$SOURCE/deploy/jetson.conf" "$DROPINS/jetson.conf"
	[ "$NETWORK" = 0 ] || put "$SOURCE/deploy/network.conf" "$DROPINS/network.conf"
	put "$SOURCE/deploy/99-edgearm.rules" "$RULES"
	put "$SOURCE/deploy/edgearm-limits.conf" "$LIMITS"
	if [ -e "$CONFIG/config.toml" ]; then
		say ok "$CONFIG/config.toml (yours, left as it is)"
	else
		put "$SOURCE/deploy/config.toml" "$CONFIG/config.toml"
	fi
	if ! has_systemd; then
		say note "systemd does not run here: the service is installed, not enabled"
		return
	fi
	run systemctl daemon-reload
	if has_udev; then
		run udevadm control --reload
		run udevadm trigger --subsystem-match=tty --subsystem-match=misc
	else
		say note "udev does not run here: devices get no lasting names"
	fi
	run systemctl enable --quiet edgearm
	if [ "$START" = 1 ]; then
		verb=start
		[ "$CHANGED" = 0 ] && runs_what_is_installed || verb=restart
		run systemctl "$verb" --no-block edgearm
	fi
}

uninstall() {
	if has_systemd; then run systemctl disable --now --quiet edgearm || true; fi
	run rm -rf "$UNIT" "$DROPINS/jetson.conf" "$DROPINS/network.conf" "$RULES" "$LIMITS" "$PREFIX"
	[ ! -d "$DROPINS" ] || run rmdir --ignore-fail-on-non-empty "$DROPINS" # what is left there is yours
	[ "$(readlink /usr/local/bin/edge || true)" != "$PREFIX/venv/bin/edge" ] || run rm -f /usr/local/bin/edge
	if has_systemd; then
		run systemctl daemon-reload
		if has_udev; then run udevadm control --reload; fi
	fi
	if [ "$PURGE" = 1 ]; then
		run rm -rf "$CONFIG" "$STATE" "$DROPINS"
		if getent passwd edgearm >/dev/null; then run userdel edgearm; fi
		if getent group edgearm >/dev/null; then run groupdel edgearm; fi # userdel leaves one with other members
		say removed "everything"
	else
		say kept "$CONFIG and $STATE (configuration, bundles, runs; --purge removes them too)"
	fi
}

DRY=0 PURGE=0 NETWORK=0 START=1 CHANGED=0 ACTION=install BUNDLE='' PYTHON='' WHEELS=''
while [ $# -gt 0 ]; do
	case $1 in
	uninstall) ACTION=uninstall ;;
	--dry-run) DRY=1 ;;
	--purge) PURGE=1 ;;
	--network) NETWORK=1 ;;
	--no-start) START=0 ;;
	--bundle | --python | --wheels)
		[ $# -ge 2 ] || fail "$1 needs a value" "see --help"
		declare "$(tr '[:lower:]' '[:upper:]' <<<"${1#--}")=$2"
		shift
		;;
	--help | -h)
		usage
		exit 0
		;;
	*) fail "unknown option $1" "see --help" ;;
	esac
	shift
done
[ "$DRY" = 1 ] || [ "$(id -u)" = 0 ] || fail "this changes the system" "run it with sudo, or with --dry-run"

if [ "$ACTION" = uninstall ]; then
	uninstall
	exit
fi
ARCH=$(board)
INTERPRETER=$(find_python)
# shellcheck source=/dev/null
say found "$(. /etc/os-release && echo "$PRETTY_NAME"), $(uname -m), $("$INTERPRETER" --version)${ARCH:+, Jetson $ARCH}"
packages
account
environment "$INTERPRETER" "$ARCH"
bundle
service "$ARCH"
say finished "edit $CONFIG/config.toml, then: systemctl restart edgearm; edge status"
