"""Repetitions of the suite, and a table of what failed how often: pytest tests/hil --repeat 100."""

from __future__ import annotations

import re
from collections import Counter

import pytest

_NAME = re.compile(r"::(\w+)\[(\w+?)(?:-\d+)?\]$")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--repeat", type=int, default=1, metavar="N", help="run every test so often, and say what failed")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    times = metafunc.config.getoption("repeat", 1)
    if times > 1:
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(times))


class _AtOnce:
    """Says what failed when it fails: a hundred repetitions take hours."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.ensure_newline()
            terminal.section(f"{report.nodeid}, {report.when}")
            terminal.write_line(report.longreprtext)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("repeat", 1) > 1:
        config.pluginmanager.register(_AtOnce(config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One repetition of all after the other, so that an interrupted run has as many of each."""
    items.sort(key=lambda item: item.callspec.params.get("repetition", 0) if hasattr(item, "callspec") else 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("repeat", 1) <= 1:
        return
    runs: Counter[tuple[str, str]] = Counter()
    failures: Counter[tuple[str, str]] = Counter()
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            if found := _NAME.search(report.nodeid):
                name = found[2], found[1]
                runs[name] += outcome != "error"
                failures[name] += outcome != "passed"
    terminalreporter.section("repetitions")
    for backend in sorted({backend for backend, _ in runs}):
        names = [name for name in runs if name[0] == backend]
        least, failed = min(runs[name] for name in names), sum(failures[name] for name in names)
        terminalreporter.write_line(f"{backend:<10} {len(names)} tests, each {least} times or more: {failed} failures")
        for name in names:
            if failures[name]:
                terminalreporter.write_line(f"{'':<10} {failures[name]:4d} of {runs[name]:4d}  {name[1]}")
