# Everything a developer or CI runs. Set-up leaves a stamp, so that a second `make demo` sets nothing up.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.10; do \
	$$p -c '' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
STAMPS := build/stamps
# The CPU build: any other torch requirement brings several gigabytes of CUDA packages.
TORCH := torch==2.13.0
# The release that pyproject.toml asks for.
LLAMA := llama-cpp-python==0.3.36
# On a machine with AMX it is built without, and not taken from pip's cache: what GCC 12 makes of llama.cpp's AMX code
# ends the process (edge/planner/native.py, model_options).
NO_AMX := -mno-amx-tile -mno-amx-int8 -mno-amx-bf16
LLAMA_INSTALL := $(if $(shell grep -m1 -ow amx_int8 /proc/cpuinfo 2>/dev/null),\
	CFLAGS="$(NO_AMX)" CXXFLAGS="$(NO_AMX)" $(BIN)/python -m pip install --quiet --no-cache-dir "$(LLAMA)",\
	$(BIN)/python -m pip install --quiet "$(LLAMA)")
# The extra tensorrt-rtx of pyproject.toml: engines are built in the tests, which need no GPU for it.
RTX := "cuda-bindings>=12.6" tensorrt-rtx-cu13-libs==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116
# A compiler, and the off-screen renderer of the simulated cameras.
DEBIAN := build-essential libegl1 libgl1-mesa-dri
# The C++ tests' framework; what builds and emulates the microcontroller; cyclictest, beside which the loop is measured;
# what reads the unit, the rules and the script of deploy/.
DEBIAN_TESTS := doctest-dev gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm rt-tests openssl shellcheck systemd udev umockdev
# What `make test-aarch64` builds with and runs on; the aarch64 system itself is unpacked into build/.
DEBIAN_AARCH64 := g++-aarch64-linux-gnu qemu-user-static
# What `make test-systemd` unpacks a system with, and boots it in.
DEBIAN_SYSTEMD := curl debootstrap gnupg systemd-container
CLANG_FILES = $(shell git ls-files '*.c' '*.h' '*.cpp' '*.hpp')
NATIVE := CMakeLists.txt $(wildcard edge/csrc/*.cpp edge/csrc/*.hpp firmware_bridge/*.pyx firmware_bridge/*.pxd firmware_bridge/codec/* firmware_bridge/firmware/*.[ch] firmware_bridge/link/* firmware_bridge/safety/* firmware_bridge/table/*)

TASK ?=
SEED ?=
FUZZ_SECONDS ?= 60
RELEASE ?=
REPEAT ?= 1

export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup build test check lint types native pytest demo format sanitize test-socketcan test-aarch64 test-systemd coverage-safety coverage-codec coverage-firmware firmware hil mutation-safety mutation-firmware prove-safety fuzz clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMPS)/built ## Set up .venv with everything, and build the native core

build: $(STAMPS)/built ## Rebuild the native core if its sources changed

test: setup check ## Set up, then check

check: lint types native pytest ## What CI runs: lint, types, C++ tests, Python tests

lint: $(STAMPS)/built
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CLANG_FILES)

types: $(STAMPS)/built
	$(BIN)/mypy --strict edge

native: $(STAMPS)/built $(STAMPS)/debian-tests
	$(BIN)/cmake --preset dev
	$(BIN)/cmake --build --preset dev
	$(BIN)/ctest --preset dev

pytest: $(STAMPS)/built $(STAMPS)/debian-tests $(STAMPS)/packages-tests
	$(BIN)/python -m pytest

demo: setup ## Do the demo tasks, or one: make demo TASK="stack the green cube on the red cube" SEED=7
	$(BIN)/python -m learning.demo $(if $(TASK),--task "$(TASK)") $(if $(SEED),--seed $(SEED))

sanitize: $(STAMPS)/built $(STAMPS)/debian-tests ## Run the C++ tests under ASan, UBSan and TSan
	for preset in asan tsan; do \
		$(BIN)/cmake --preset $$preset && $(BIN)/cmake --build --preset $$preset && $(BIN)/ctest --preset $$preset || exit 1; \
	done

test-socketcan: $(STAMPS)/built $(STAMPS)/debian-tests ## Run the SocketCAN link on Debian's kernel in qemu (a minute; says why if it cannot)
	$(BIN)/cmake --preset dev
	$(BIN)/cmake --build --preset dev --target edgearm_vcan_tests
	tests/native/vcan/run.sh build/dev

test-aarch64: $(STAMPS)/built $(STAMPS)/debian-aarch64 ## Cross-compile for aarch64 and run the tests emulated (minutes; says why if it cannot)
	tests/aarch64/run.sh $(BIN)/python

test-systemd: $(STAMPS)/built $(STAMPS)/debian-systemd ## Boot a system in a container, install the service there, crash and reboot it (minutes; as root); RELEASE=jammy, noble: Ubuntu
	tests/machine/run.sh $(BIN)/python $(RELEASE)

coverage-safety: ## Line and branch coverage of the safety folder: fails below 100 %
	tests/safety/coverage.sh

coverage-codec: ## The same of the codecs
	tests/codec/coverage.sh

coverage-firmware: ## The same of the firmware's core
	tests/firmware/coverage.sh

firmware: $(STAMPS)/built $(STAMPS)/debian-tests ## Build the firmware, host and Cortex-M4; its size, and a bound of its stack
	$(BIN)/cmake --preset dev
	$(BIN)/cmake --build --preset dev --target edgearm_firmware_host
	firmware_bridge/firmware/ports/mps2_an386/build.sh build/firmware

hil: $(STAMPS)/built $(STAMPS)/debian-tests ## Hardware-in-the-loop tests: emulator, host, QEMU, and a board at EDGEARM_HIL_PORT; REPEAT=100 counts flakes
	$(BIN)/python -m pytest tests/hil --repeat $(REPEAT)

mutation-safety: ## Every mutant of the safety folder must fail its tests (minutes)
	$(PYTHON) tests/safety/mutate.py

mutation-firmware: ## Every mutant of firmware and codecs, and which their tests do not see (three hours; python tests/firmware/mutate.py --help: some of them)
	$(PYTHON) tests/firmware/mutate.py

prove-safety: ## What Frama-C proves of the safety folder (docs/safety.md; minutes, needs Frama-C)
	tests/safety/frama_c/prove.sh

fuzz: ## Fuzz every codec for FUZZ_SECONDS each; needs clang
	tests/fuzz/run.sh $(FUZZ_SECONDS)

format: $(STAMPS)/built ## Format Python, C and C++
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CLANG_FILES)

clean: ## Remove what was built; keeps .venv, data and runs
	rm -rf build edge/*.so firmware_bridge/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis

# --- set-up, one stamp a step ------------------------------------------------------------------------------------------

$(STAMPS)/debian: WANTED = $(DEBIAN)
$(STAMPS)/debian-tests: WANTED = $(DEBIAN_TESTS)
$(STAMPS)/debian-aarch64: WANTED = $(DEBIAN_AARCH64)
$(STAMPS)/debian-systemd: WANTED = $(DEBIAN_SYSTEMD)
$(STAMPS)/debian $(STAMPS)/debian-tests $(STAMPS)/debian-aarch64 $(STAMPS)/debian-systemd:
	@mkdir -p $(STAMPS)
	@missing=$$(for p in $(WANTED); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -z "$$missing" ]; then :; \
	elif ! command -v apt-get >/dev/null; then echo "not Debian: install what corresponds to:" $$missing; \
	elif [ "$$(id -u)" = 0 ]; then apt-get update -q && apt-get install -qy --no-install-recommends $$missing; \
	elif command -v sudo >/dev/null; then sudo apt-get update -q && sudo apt-get install -qy --no-install-recommends $$missing; \
	else echo "install as root: apt-get install" $$missing; exit 1; fi
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "no Python 3.10, 3.11 or 3.12 found: set PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# What the editable build needs comes first: it runs without isolation, so that a rebuild finds the same headers.
$(STAMPS)/packages: pyproject.toml $(STAMPS)/debian | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)" scikit-build-core pybind11 cython cmake ninja
	$(LLAMA_INSTALL)
	$(BIN)/python -m pip install --quiet --no-build-isolation -e ".[sim,learn,dev]"
	@touch $@

# A compiler of 95 MB that only tests need.
$(STAMPS)/packages-tests: $(STAMPS)/packages
	$(BIN)/python -m pip install --quiet $(RTX)
	@touch $@

# Installing the packages has built the core as well.
$(STAMPS)/built: $(STAMPS)/packages $(NATIVE)
	@$(if $(filter $(STAMPS)/packages,$?),,$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps -e .)
	@touch $@
