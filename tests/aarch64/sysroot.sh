#!/bin/sh
# An aarch64 Debian or Ubuntu of this machine's own release, unpacked into FOLDER/sysroot: C library, Python with its
# headers, numpy, doctest, pytest. FOLDER/python runs its Python. Nothing is installed, no root is needed, and the machine's
# own apt learns nothing of it.
#
#   tests/aarch64/sysroot.sh FOLDER PYTHON      PYTHON: an interpreter of this machine that has pip
set -eu

mkdir -p "$1"
folder=$(cd "$1" && pwd)
python=$2
root=$folder/sysroot
apt=$folder/apt

stop() {
    echo "no aarch64 sysroot: $1" >&2
    exit 1
}

[ ! -e "$root/complete" ] || exit 0
command -v apt-get >/dev/null || stop "no apt-get to fetch Debian's arm64 packages with"

emulator=$(command -v qemu-aarch64-static || command -v qemu-aarch64) ||
    stop "no qemu-aarch64 (Debian: apt-get install qemu-user-static)"

# Left over from an attempt that was cut short; another version of a package beside it would be unpacked as well.
rm -rf "$apt" "$root" "$folder/wheels"
mkdir -p "$apt/lists" "$apt/state" "$apt/cache/archives/partial"
: >"$apt/status"
arm64() {
    command=$1
    shift
    "$command" -q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State="$apt/state" \
        -o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" \
        -o Debug::NoLocking=true -o APT::Sandbox::User= "$@"
}
arm64 apt-get update >"$apt/log" 2>&1 || stop "apt-get update for arm64 failed, see $apt/log"

# CMake takes only headers of the version that runs the build.
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
arm64 apt-cache show "libpython$version-dev" >/dev/null 2>&1 ||
    stop "this release has no Python $version for arm64: make .venv with the release's own Python (Ubuntu: add its ports sources)"

# apt works out what they need; nothing counts as installed.
arm64 apt-get install -y --download-only --no-install-recommends \
    "python$version" "libpython$version-dev" libc6-dev libstdc++6 doctest-dev >>"$apt/log" 2>&1 ||
    stop "the arm64 packages cannot be downloaded, see $apt/log"

for directory in bin lib sbin; do
    mkdir -p "$root/usr/$directory"
    ln -s "usr/$directory" "$root/$directory"
done
for package in "$apt"/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$root" --exclude ./usr/share/doc --exclude ./usr/share/man
done

# As on a robot: the wheels, which are newer than Debian's packages.
"$python" -m pip download --quiet --only-binary :all: --dest "$folder/wheels" --python-version "$version" \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 \
    "numpy>=1.26" "pytest>=8" "hypothesis>=6.100" >>"$apt/log" 2>&1 ||
    stop "pip cannot download what the tests need for Python $version on aarch64, see $apt/log"
for wheel in "$folder"/wheels/*.whl; do
    "$python" -m zipfile -e "$wheel" "$root/usr/lib/python3/dist-packages"
done

# The interpreter under a name that this machine can execute: tests start further ones as sys.executable.
cat >"$folder/python" <<RUN
#!/bin/sh
exec "$emulator" -0 "$folder/python" -L "$root" -E PYTHONHOME="$root/usr" "$root/usr/bin/python$version" "\$@"
RUN
chmod +x "$folder/python"

echo "$version" >"$root/complete"
