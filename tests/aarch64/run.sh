#!/bin/sh
# The project on aarch64: cross-compiled, the C and C++ tests and a part of the Python tests emulated, and the loop's numbers
# compared with this machine's own. Needs no root and no network once the packages are there.
#
#   tests/aarch64/run.sh PYTHON      PYTHON: this machine's interpreter with the project's build tools, .venv/bin/python
set -eu

python=$1
checkout=$(cd "$(dirname "$0")/../.." && pwd)
debian=$checkout/build/aarch64-debian
cd "$checkout"

stop() {
    echo "aarch64 tests cannot run: $1" >&2
    exit 1
}

command -v aarch64-linux-gnu-g++ >/dev/null || stop "no aarch64-linux-gnu-g++ (Debian: apt-get install g++-aarch64-linux-gnu)"
tests/aarch64/sysroot.sh "$debian" "$python"
version=$(cat "$debian/sysroot/complete")
suffix=$("$debian/python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')

# Afresh: with another interpreter than last time pybind11 forgets the suffix, and this machine's own modules would be
# overwritten.
rm -f build/aarch64/CMakeCache.txt
cmake --preset aarch64 -DEDGEARM_PYTHON=ON -DPython_EXECUTABLE="$("$python" -c 'import sys; print(sys.executable)')" \
    -DPython_INCLUDE_DIR="$debian/sysroot/usr/include/python$version" \
    -DPYTHON_MODULE_EXTENSION="$suffix" -DPYTHON_MODULE_DEBUG_POSTFIX= -DPYTHON_IS_DEBUG=OFF
cmake --build --preset aarch64
cmake --build --preset aarch64 --target edgearm_firmware_host
ctest --preset aarch64

# What starts emulated servos stays out: qemu knows neither their rate of 1 Mbps nor the call that asks for it.
"$debian/python" -m pytest --noconftest -p no:cacheprovider --hypothesis-profile=ci -q \
    tests/test_codec.py tests/test_bridge.py tests/test_arm_table.py tests/test_trajectory.py tests/test_loop.py

"$python" tests/aarch64/step.py "$debian/native.npz"
"$debian/python" tests/aarch64/step.py "$debian/aarch64.npz" --against "$debian/native.npz"
