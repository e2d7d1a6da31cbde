"""Faults of processes, ports and clocks, again and again, judged by what the emulated servos decode.

    python benchmarks/process_faults.py                       20 of each (about ten minutes)
    python benchmarks/process_faults.py --repeat 3 --markdown FILE
    python benchmarks/process_faults.py --microcontroller     `edge run` behind the firmware (about 40 minutes)

A host (benchmarks/fault_host.py) swings an arm on an emulated servo bus; each is a process. What happens to frames on
the way is in benchmarks/faults.py, what a whole `edge run` makes of it in tests/test_failures.py. Times are real and
nothing is promised of them here: 20 ms of silence are counted in firmware time (tests/firmware).
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import controller_faults
from benchmarks.controller_bench import ControllerRow
from benchmarks.fault_bench import CARRIED_S, ROOT, Bench, Judge, Row

OVERLOAD = 0x20


# --- what happens ----------------------------------------------------------------------------------------------------


def holds(seen: dict[str, Any]) -> int:
    """Times that the loop held because of the machine or the bus."""
    return int(seen["counters"]["holds_stalled"] + seen["counters"]["holds_feedback"])


def host_killed(bench: Bench) -> None:
    bench.host.kill()
    bench.host.wait()
    time.sleep(CARRIED_S)
    since, last = time.monotonic_ns(), bench.bus.block.goal.copy()
    time.sleep(0.3)
    bench.row.stale += sum(time_ns > since for time_ns, _ in bench.wire.frames())
    bench.promised(bool(np.all(bench.bus.block.torque == 1) and np.all(bench.bus.block.goal == last)))


def host_stopped(bench: Bench) -> None:
    before = holds(bench.ask())
    bench.host.send_signal(signal.SIGSTOP)
    time.sleep(CARRIED_S)
    since = time.monotonic_ns()
    time.sleep(0.3)
    bench.row.stale += sum(time_ns > since for time_ns, _ in bench.wire.frames())
    bench.host.send_signal(signal.SIGCONT)
    bench.until(lambda seen: holds(seen) > before and seen["state"] == "running")


def policy_hangs(bench: Bench) -> None:
    bench.ask("hang")
    rest = bench.until(lambda seen: seen["hold_cause"] == "out of targets" and seen["at_rest"])["commanded"]
    bench.resting(bench.heard(50, time.monotonic_ns() + round(CARRIED_S * 1e9)), rest)
    bench.ask("go")
    bench.until(lambda seen: seen["state"] == "running")


def policy_gives_nan(bench: Bench) -> None:
    seen = bench.ask("nan")
    bench.promised(not seen["accepted"] and "not finite" in seen["reason"] and seen["state"] == "running")


def queues_full(bench: Bench) -> None:
    bench.until(lambda seen: seen["dropped"] > 0)  # the log, that nobody reads
    accepted = bench.ask("flood")["accepted"]  # the mailbox: the newest counts
    bench.promised(accepted > 0 and bench.ask()["state"] in ("running", "hold"))
    bench.until(lambda seen: seen["state"] == "running")


def adapter_hangs(bench: Bench) -> None:
    """The port takes bytes until its buffer is full and hands all of them on later."""
    os.kill(bench.bus.pid, signal.SIGSTOP)
    try:
        rest = bench.until(lambda seen: seen["state"] == "fault" and seen["at_rest"])["commanded"]
        time.sleep(1.0)  # until nothing goes in any more
    finally:
        os.kill(bench.bus.pid, signal.SIGCONT)
    ok = bench.ask()["ok"]
    bench.until(lambda seen: seen["ok"] > ok + 20)
    bench.resting(bench.heard(50, time.monotonic_ns() + round(CARRIED_S * 1e9)), rest)
    bench.swings_again()


def adapter_unplugged(bench: Bench) -> None:
    here = bench.bus.block.position.copy()
    bench.bus.close()
    bench.promised(bench.until(lambda seen: seen["state"] == "fault")["fault_cause"] == "link lost")
    since = time.monotonic_ns()
    bench.plug_in(here)
    ok = bench.until(lambda seen: seen["connected"])["ok"]
    bench.until(lambda seen: seen["ok"] > ok + 50)
    bench.row.stale += len(bench.wire.goals(since))
    bench.row.torque += int(np.any(bench.bus.block.torque))
    bench.swings_again()


def descriptor_lost(bench: Bench) -> None:
    bench.ask("lose")
    bench.promised(bench.until(lambda seen: seen["state"] == "fault")["fault_cause"] == "link lost")
    since = time.monotonic_ns() + round(CARRIED_S * 1e9)
    ok = bench.until(lambda seen: seen["connected"])["ok"]
    bench.until(lambda seen: seen["ok"] > ok + 50)
    bench.row.stale += len(bench.wire.goals(since))
    bench.row.torque += int(not np.all(bench.bus.block.torque))
    bench.swings_again()


def servo_overloaded(bench: Bench) -> None:
    bench.bus.block.status[2] = OVERLOAD
    seen = bench.until(lambda seen: bool(seen["errors"]))
    bench.promised(seen["errors"] == {"elbow_flex": "overload"} and seen["state"] == "running")
    bench.bus.block.status[2] = 0
    bench.until(lambda seen: not seen["errors"])


def feedback_stale(bench: Bench) -> None:
    """Every servo says for a second where it was: nothing tells that from an arm that is held."""
    bench.frozen = True
    since = time.monotonic_ns()
    moved = bench.heard(200, since)
    bench.frozen = False
    bench.promised(bool(np.ptp(moved[:, 0]) > 0))
    bench.until(lambda seen: seen["state"] == "running")


def clock_set(bench: Bench) -> None:
    told = [bench.ask() for _ in range(40) if time.sleep(0.05) is None]
    bench.promised(float(np.ptp([seen["wall_s"] for seen in told])) > 3600)  # it was
    bench.promised(all(not seen["fault_cause"] for seen in told))
    bench.heard(200, time.monotonic_ns())
    bench.until(lambda seen: seen["state"] == "running")


FAULTS: dict[str, tuple[Callable[[Bench], None], str]] = {
    "host killed": (host_killed, "nothing more is said; servos stay on at the last goal"),
    "host stopped for 0.4 s": (host_stopped, "silence; then a hold within limits, and the newest chunk"),
    "policy hangs": (policy_hangs, "its chunk, rest, and the next chunk that comes"),
    "policy gives NaN": (policy_gives_nan, "refused; the chunk before goes on"),
    "log unread, 2000 chunks at once": (queues_full, "samples are dropped, the newest chunk counts"),
    "adapter hangs, buffer full": (adapter_hangs, "fault; what was buffered ends at the pose of rest"),
    "adapter unplugged, plugged in": (adapter_unplugged, "fault; only listened to until started anew"),
    "port's descriptor lost": (descriptor_lost, "fault; only listened to until started anew"),
    "overload status": (servo_overloaded, "the servo is named; the others go on"),
    "feedback frozen": (feedback_stale, "goals stay within limits"),
    "wall clock set by 2 h, 4 a second": (clock_set, "nothing changes"),
}
A_HOST = 5
"""Injections into one, which is then ended and judged."""
ENDS_THE_HOST = {"host killed"}
RESTARTS = {"adapter hangs, buffer full", "adapter unplugged, plugged in", "port's descriptor lost"}


def build_clock(folder: Path) -> Path:
    """The library whose wall clock is set all the time."""
    library = folder / "clock_step.so"
    source = ROOT / "tests" / "clock_step.c"
    subprocess.run(["cc", "-std=gnu99", "-O1", "-shared", "-fPIC", source, "-o", library], check=True)
    return library


def inject(fault: str, repeat: int, root: Path) -> Row:
    """One row: so many times, all on one host where it outlives that."""
    work, promise = FAULTS[fault]
    row, judge = Row(fault, promise, restarts=fault in RESTARTS), Judge()
    environment = {"LD_PRELOAD": str(build_clock(root))} if work is clock_set else None
    while row.injections < repeat:
        folder = Path(tempfile.mkdtemp(dir=root))
        bench = Bench(folder, row, environment)
        try:
            for _ in range(min(repeat - row.injections, 1 if fault in ENDS_THE_HOST else A_HOST)):
                work(bench)
                row.injections += 1
        finally:
            bench.close()
        judge.count(bench.wire, row)
    return row


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    behind = bool(rows) and isinstance(rows[0], ControllerRow)
    names = [field.name for field in fields(ControllerRow if behind else Row) if field.name != "restarts"]
    lines = ["| " + " | ".join(names) + " |", "|---|---|" + "--:|" * (len(names) - 2)]
    lines += ["| " + " | ".join(str(getattr(row, name)) for name in names) + " |" for row in rows]
    lines += [
        "",
        ("`edge run` behind the microcontroller. " if behind else "On a direct servo bus. ")
        + "outside: goals beyond a joint's limits. jumps: farther from the goals before than the "
        "joint can go. stale: from before a stop, after it, or to an arm that nobody started anew. torque: switched "
        "without an order. other: host or arm did not end in the promised state.",
    ]
    if behind:
        lines[-1] += (
            " late: after silence the brake began more than five ticks, 20 ms of the firmware's time, after the last "
            "order that counted; ticks: the most there were. void: runs that a busy machine ended before anything was "
            "injected; not counted."
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--repeat", type=int, default=20, help="injections of each fault")
    parser.add_argument("--only", nargs="*", metavar="FAULT", help="these faults")
    parser.add_argument("--microcontroller", action="store_true", help="`edge run` behind the firmware")
    parser.add_argument("--markdown", type=Path, help="where the table goes as well")
    options = parser.parse_args(arguments)
    known = controller_faults.FAULTS if options.microcontroller else FAULTS
    chosen = list(known) if options.only is None else options.only
    if unknown := set(chosen) - set(known):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root = Path(folder)
        made = stack.enter_context(controller_faults.setting(root)) if options.microcontroller else None
        for fault in chosen:
            if made is None:
                rows.append(inject(fault, options.repeat, root))
            else:
                rows.append(controller_faults.inject(fault, options.repeat, root, made, build_clock(root)))
            print(rows[-1], file=sys.stderr)
    print(table(rows))
    if options.markdown is not None:
        options.markdown.write_text(table(rows), encoding="utf-8")
    return 0 if all(row.kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
