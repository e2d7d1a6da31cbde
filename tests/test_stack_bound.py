"""What the stack bound of the firmware counts, and what it refuses to bound."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FIRMWARE = Path(__file__).parents[1] / "firmware_bridge/firmware"
COMPILER = "arm-none-eabi-gcc"
HANDLERS = "".join(
    f"void board_{name}(void) {{}}\n"
    for name in ("upward_receive", "upward_transmit", "bus_receive", "bus_transmit", "bench_receive", "bark")
)

pytestmark = pytest.mark.skipif(
    shutil.which(COMPILER) is None, reason=f"{COMPILER} is missing: install the Debian package gcc-arm-none-eabi"
)


def bound(folder: Path, source: str, stack: int = 2048) -> subprocess.CompletedProcess[str]:
    (folder / "it.c").write_text(HANDLERS + source)
    options = ["-mcpu=cortex-m4", "-mthumb", "-O1", "-ffreestanding", "-nostdlib", "-fstack-usage", "-fno-inline"]
    options += [
        "-fno-optimize-sibling-calls",
        "-Wl,-e,board_start",
        f"-Wl,--defsym,board_stack_top={0x20000000 + stack}",
    ]
    subprocess.run([COMPILER, *options, "it.c", "-o", "it.elf"], cwd=folder, check=True)
    script = [sys.executable, FIRMWARE / "stack_bound.py", "it.elf"]
    return subprocess.run(script, cwd=folder, capture_output=True, text=True, check=False)


BUFFER = "void use(volatile char *b) { b[0] = 1; }\n"


def test_frames_add_up(tmp_path: Path) -> None:
    source = BUFFER + (
        "void deep(void) { volatile char b[400]; use(b); }\n"
        "void flat(void) { volatile char b[80]; use(b); }\n"
        "void board_start(void) { flat(); deep(); }\n"
    )
    result = bound(tmp_path, source)
    assert result.returncode == 0, result.stderr
    match = re.search(r"stack: (\d+) bytes at most of 2048", result.stdout)
    assert match is not None
    assert 400 + 72 <= int(match[1]) < 400 + 72 + 60
    assert "board_start > deep > use" in result.stdout
    assert bound(tmp_path, source, stack=400).returncode == 1


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("int f(int n) { return n ? n * f(n - 1) : 1; }\nint board_start(int n) { return f(n); }\n", "recursion"),
        ("int board_start(int (*f)(void)) { return f() + 1; }\n", "pointer"),
        (BUFFER + "void board_start(int n) { volatile char b[n]; use(b); }\n", "stack pointer"),
    ],
)
def test_what_has_no_bound_is_refused(tmp_path: Path, source: str, reason: str) -> None:
    result = bound(tmp_path, source)
    assert result.returncode == 1
    assert reason in result.stderr
