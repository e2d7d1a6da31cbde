"""What a person sees while the robot works: a live panel on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from typing import Any, Protocol, TextIO

from edge.run_log import Record
from edge.status import Status, line_of

_OUTCOME_STYLE = {"ok": "green", "missed": "yellow", "lost": "yellow", "timeout": "red"}
_PHASE_STYLE = {"finished": "bold green", "failed": "bold red", "acting": "cyan", "planning": "magenta"}


class Display(Protocol):
    """Shows records as they come and the status now and then."""

    def record(self, record: Record, status: Status) -> None:
        """Takes a record that `status` has already applied."""

    def refresh(self, status: Status) -> None:
        """Shows the status; called a few times a second from the main thread."""

    def close(self, status: Status) -> None:
        """Shows the last status and gives the terminal back."""


def open_display(stream: TextIO | None = None) -> Display:
    """A live panel if the stream is a terminal and `rich` is there, else plain lines."""
    stream = stream or sys.stdout
    if stream.isatty():
        try:
            return LivePanel()
        except ImportError:
            pass
    return PlainLines(stream)


class PlainLines:
    """One line for each record that is worth one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def record(self, record: Record, status: Status) -> None:
        line = line_of(record, status.began_ns)
        if line is not None:
            print(line, file=self._stream, flush=True)

    def refresh(self, status: Status) -> None:
        """Nothing: lines are printed as they come."""

    def close(self, status: Status) -> None:
        """Nothing is left open."""


class LivePanel:
    """The whole status, redrawn in place."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live: Any = Live(auto_refresh=False)
        self._live.start()

    def record(self, record: Record, status: Status) -> None:
        """Nothing: `refresh` shows it."""

    def refresh(self, status: Status) -> None:
        self._live.update(panel(status), refresh=True)

    def close(self, status: Status) -> None:
        self.refresh(status)
        self._live.stop()


def panel(status: Status) -> Any:
    """The status as a rich renderable."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    now = Table.grid(padding=(0, 2))
    now.add_column(style="dim", no_wrap=True)
    now.add_column()
    seconds = (status.now_ns - status.call_began_ns) / 1e9
    doing = f"{status.call}   {seconds:.1f} s" if status.call else status.reason or "…"
    now.add_row("task", Text(status.task, style="bold"))
    now.add_row("now", Text(f"{status.phase}: {doing}", style=_PHASE_STYLE.get(status.phase, "")))
    now.add_row("holding", status.carried or "nothing")
    for i, (name, pose) in enumerate(tuple(status.places.items())):
        now.add_row("" if i else "remembered", f"{name} was at x {pose[0] * 100:.1f} y {pose[1] * 100:.1f} cm")
    now.add_row("arm", Text(_arm(status), style="red" if status.arm in ("fault", "hold") else ""))
    if status.chunks:
        now.add_row("policy", f"{status.infer_ms:.1f} ms, finished {status.finished:.2f}, {status.chunks} chunks")
    if status.plan_ms is not None:
        now.add_row("planner", f"{status.plan_ms:.0f} ms")
    for warning in tuple(status.warnings):
        now.add_row("", Text(warning, style="yellow"))
    calls = Table.grid(padding=(0, 2))
    for i, (call, outcome) in enumerate(tuple(status.calls), 1):
        calls.add_row(Text(f"{i}", style="dim"), call, Text(outcome, style=_OUTCOME_STYLE.get(outcome, "")))
    elapsed = (status.now_ns - status.began_ns) / 1e9
    return Panel(Group(now, Text(""), calls), title=f"edge run · {elapsed:.0f} s", title_align="left")


def _arm(status: Status) -> str:
    loop = status.loop
    if not loop:
        return status.arm
    late = f"late {loop['late_us']:.0f} µs (p99), {loop['late_max_us']:.0f} µs (max)"
    return f"{status.arm}, loop {loop['rate_hz']:.0f} Hz, {late}"
