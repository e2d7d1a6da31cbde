"""Nothing that controls asks for the time of day: a wall clock that somebody sets changes no motion."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("edge", "firmware_bridge")
# What is named after the time of day, and nothing else: run directories.
MAY_ASK = {("edge/session.py", "strftime")}
WALL_CALLS = {"time", "time_ns", "localtime", "gmtime", "ctime", "strftime", "now", "today", "utcnow", "fromtimestamp"}
# Timed waits of the C++ library on a time of day; those on CLOCK_MONOTONIC have other names or take a clock.
WALL_NATIVE = re.compile(
    r"CLOCK_REALTIME|CLOCK_TAI|system_clock|high_resolution_clock|utc_clock|\bgettimeofday\b|\bstd::time\b|"
    r"(?<![\w.>:])time\s*\(\s*(NULL|nullptr|0|&)|\b(pthread_cond|sem|pthread_mutex|mtx|cnd)_timed\w*|\bmq_timed\w*"
)


def python_sources() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted((ROOT / folder).rglob("*.py"))


def native_sources() -> Iterator[Path]:
    for folder in FOLDERS:
        for kind in ("*.c", "*.h", "*.cpp", "*.hpp", "*.pyx", "*.pxd"):
            yield from sorted((ROOT / folder).rglob(kind))


def wall_calls(source: str) -> set[str]:
    """Names of the functions of `time` and `datetime` that tell the time of day, as this source uses them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in WALL_CALLS:
            root = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and root.id in ("time", "datetime", "date"):
                found.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module in ("time", "datetime"):
            found |= {name.name for name in node.names} & (WALL_CALLS | {"datetime", "date"})
        elif isinstance(node, ast.Attribute) and node.attr == "CLOCK_REALTIME":
            found.add(node.attr)
    return found


@pytest.mark.parametrize(
    ("source", "asks"),
    [
        ("import time\ntime.monotonic_ns()\ntime.sleep(1)", set()),
        ("import time\nnow = time.time()", {"time"}),
        ("from time import time_ns", {"time_ns"}),
        ("import datetime\ndatetime.datetime.now()", {"now"}),
        ("import time\ntime.clock_gettime(time.CLOCK_REALTIME)", {"CLOCK_REALTIME"}),
        ("frame.time_ns", set()),
    ],
)
def test_the_time_of_day_is_recognised(source: str, asks: set[str]) -> None:
    assert wall_calls(source) == asks


def test_no_python_asks_for_the_time_of_day() -> None:
    asked = set()
    for path in python_sources():
        name = path.relative_to(ROOT).as_posix()
        asked |= {(name, call) for call in wall_calls(path.read_text(encoding="utf-8"))}
    assert asked == MAY_ASK


def test_no_native_code_asks_for_the_time_of_day() -> None:
    paths = list(native_sources())
    assert len(paths) > 100
    for path in paths:
        found = WALL_NATIVE.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{path}: {found and found[0]}"


@pytest.mark.parametrize(
    "text", ["clock_gettime(CLOCK_REALTIME, &now)", "time(NULL)", "std::chrono::system_clock::now()"]
)
def test_native_code_that_does_is_recognised(text: str) -> None:
    assert WALL_NATIVE.search(text)


def test_every_wait_of_the_core_is_for_an_event_or_on_the_monotonic_clock() -> None:
    """A condition variable's timed wait is on the time of day unless it is given a steady clock."""
    for path in native_sources():
        text = path.read_text(encoding="utf-8")
        if "condition_variable" in text or "answered_" in text:
            assert not re.search(r"\banswered_\.wait_(for|until)\b", text), path
        for clock in re.findall(r"\bclock_(?:gettime|nanosleep)\((\w+)", text):
            assert clock == "CLOCK_MONOTONIC", f"{path}: {clock}"
