"""What `edge doctor` says about the computer: kernel, clocks, heat, disk, memory, and how the runtimes were built."""

from __future__ import annotations

import glob
import importlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.errors import EdgeError

DISK_NOTE, DISK_WRONG = 1 << 30, 100 << 20
"""Free bytes below which a run directory may not fit tomorrow, and not today. A task leaves a few megabytes."""
MEMORY_NOTE = 1 << 30
"""Available bytes below which the reference bundle gets tight."""
HOT_C = 85.0
"""Above this boards begin to clock down."""


@dataclass(frozen=True)
class Finding:
    """One line: `level` is ok, note or wrong, `fix` what to do about it."""

    level: str
    what: str
    text: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.level:<6} {self.what:<9} {self.text}" + (
            f"\n                 fix: {self.fix}" if self.fix else ""
        )


def examine_machine(runs: Path, cpu: int | None, root: Path = Path("/")) -> Iterator[Finding]:
    """Looks at the computer.

    Args:
        runs: Where run directories go.
        cpu: The core that the loop is to keep to, if one.
        root: Where `proc` and `sys` are found.
    """
    yield _kernel(root)
    yield from _clocks(root)
    yield from _power()
    yield from _heat(root)
    if cpu is not None:
        yield _core(root, cpu)
    yield _disk(runs)
    yield _memory(root)
    board = (root / "etc/nv_tegra_release").exists()
    yield _llama(board)
    yield _inference(board)


def _kernel(root: Path) -> Finding:
    release = _text(root / "proc/sys/kernel/osrelease") or os.uname().release
    if _text(root / "sys/kernel/realtime") == "1":
        return Finding("ok", "kernel", f"{release}, real-time")
    fix = "Debian: apt install linux-image-rt-amd64 (or -arm64); JetPack: NVIDIA's real-time kernel packages"
    return Finding("note", "kernel", f"{release} is no real-time kernel: expect milliseconds now and then", fix)


def _clocks(root: Path) -> Iterator[Finding]:
    paths = sorted(glob.glob(str(root / "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")))
    governors = sorted({_text(Path(path)) for path in paths})
    if not governors:
        return  # a virtual machine: its host decides
    if governors == ["performance"]:
        yield Finding("ok", "clocks", "governor performance on every core")
    else:
        fix = "Jetson: sudo jetson_clocks; elsewhere: sudo cpupower frequency-set -g performance"
        yield Finding("note", "clocks", f"governor {', '.join(governors)}: cores clock down between steps", fix)


def _power() -> Iterator[Finding]:
    """The power mode of a Jetson."""
    if shutil.which("nvpmodel") is None:
        return
    try:
        told = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, check=False, timeout=10).stdout
    except subprocess.TimeoutExpired:
        told = ""
    found = re.search(r"NV Power Mode: *(\S+)", told)
    if found is None:
        yield Finding("note", "power", "nvpmodel does not tell the power mode", "sudo nvpmodel -q")
    elif found[1].startswith("MAXN"):
        yield Finding("ok", "power", f"mode {found[1]}")
    else:
        fix = "if the supply allows it: sudo nvpmodel -m 0"
        yield Finding("note", "power", f"mode {found[1]}: not the fastest one", fix)


def _heat(root: Path) -> Iterator[Finding]:
    degrees = []
    for path in glob.glob(str(root / "sys/class/thermal/thermal_zone*/temp")):
        value = _text(Path(path))
        if value.lstrip("-").isdecimal():
            degrees.append(int(value) / 1000)
    if degrees and max(degrees) > HOT_C:
        fix = "a fan, or a slower power mode"
        yield Finding("note", "heat", f"{max(degrees):.0f} °C: the board will clock down", fix)
    elif degrees:
        yield Finding("ok", "heat", f"{max(degrees):.0f} °C at most")


def _core(root: Path, cpu: int) -> Finding:
    isolated = _text(root / "sys/devices/system/cpu/isolated")
    if cpu in _cores(isolated):
        return Finding("ok", "core", f"{cpu} is the loop's alone (isolcpus={isolated})")
    fix = f"kernel command line: isolcpus={cpu} nohz_full={cpu} rcu_nocbs={cpu}"
    return Finding("note", "core", f"{cpu} is used by everything else too", fix)


def _disk(runs: Path) -> Finding:
    there = next((path for path in (runs, *runs.resolve().parents) if os.path.isdir(path)), Path("/"))
    free = shutil.disk_usage(there).free
    text = f"{free / 1e9:.1f} GB free for {runs}"
    fix = f"remove old run directories in {runs}, or name another place with --runs"
    if free < DISK_WRONG:
        return Finding("wrong", "disk", text + ": a run's log may be lost", fix)
    return Finding("note", "disk", text, fix) if free < DISK_NOTE else Finding("ok", "disk", text)


def _memory(root: Path) -> Finding:
    found = re.search(r"MemAvailable: *(\d+) kB", _text(root / "proc/meminfo"))
    if found is None:
        return Finding("note", "memory", "the kernel does not say how much is available")
    available = int(found[1]) * 1024
    text = f"{available / 1e9:.1f} GB available"
    if available < MEMORY_NOTE:
        return Finding("note", "memory", text, "end what else runs, or choose a smaller planner")
    return Finding("ok", "memory", text)


def _llama(board: bool) -> Finding:
    from edge.planner.native import build_flags

    try:
        flags, gpu = build_flags()
    except EdgeError as problem:
        return Finding("wrong", "llama.cpp", f"{problem.what}: {problem.got}", problem.fix)
    if board and not gpu:
        fix = "deploy/install.sh builds it for the GPU: CMAKE_ARGS=-DGGML_CUDA=on"
        return Finding("note", "llama.cpp", f"built without CUDA: the planner runs on the processor ({flags})", fix)
    return Finding("ok", "llama.cpp", f"{'with GPU' if gpu else 'processor only'}: {flags}")


def _inference(board: bool) -> Finding:
    try:
        import onnxruntime
    except ImportError:
        return Finding("wrong", "inference", "onnxruntime is not installed", "pip install onnxruntime")
    text = f"ONNX Runtime {onnxruntime.__version__}"
    try:
        tensorrt = importlib.import_module("tensorrt")
    except ImportError:
        fix = "deploy/install.sh makes an environment that sees JetPack's TensorRT" if board else ""
        return Finding("note" if board else "ok", "inference", f"{text}, no TensorRT", fix)
    return Finding("ok", "inference", f"TensorRT {tensorrt.__version__}, {text}")


def _cores(text: str) -> set[int]:
    """Cores of a list as the kernel writes it: 2-3,5."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            found |= set(range(int(first), int(last or first) + 1))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
