"""Can clients of the service's socket disturb the control loop? How late it is while they try, beside two calm cases.

    python benchmarks/socket_flood.py --rounds 10

Tasks go through `edge serve` on an emulated arm, in rounds of three: nobody else is there; hostile clients
(benchmarks/hostile_client.py) flood the service's socket all the time; and the same clients flood a socket of somebody
else, who reads as fast as they write: what they cost the machine without the service. Each task is a run of the loop,
whose lateness the service itself reports; the simulator says whether the task was done.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.soak import NAMES, sample_task
from benchmarks.soak_bench import ServiceBench
from learning.intervals import wilson
from learning.sim.device import DeviceSpec, SimDevice
from learning.sim.scene import sample_scene

CASES = ("calm", "flood elsewhere", "flood of the service")
_LONGEST_TASK_S = 600.0
_HOSTILE = Path(__file__).with_name("hostile_client.py")
_SINK = """
import os, socket, sys, threading
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(64)
print("ready", flush=True)

def serve(connection):
    try:
        while data := connection.recv(1 << 16):
            connection.sendall(b'{"ok":true}' * data.count(10))
    except OSError:
        pass

while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


@dataclass
class Case:
    """What was seen of one: lateness of each run in µs, deadlines missed, tasks done, and what the clients did."""

    p99_us: list[float] = field(default_factory=list)
    max_us: list[float] = field(default_factory=list)
    misses: int = 0
    done: list[bool] = field(default_factory=list)
    clients: Counter[str] = field(default_factory=Counter)

    def row(self, name: str) -> str:
        """A line of the table."""
        low, high = wilson(sum(self.done), len(self.done))
        deeds = sum(self.clients.values())
        return (
            f"{name:<22} {len(self.done):5d} {statistics.median(self.p99_us):9.0f} {max(self.p99_us):9.0f} "
            f"{max(self.max_us):9.0f} {self.misses:7d}   {sum(self.done)} ({low:.2f}–{high:.2f})   {deeds}"
        )


@contextmanager
def somebody_elses_socket(folder: Path) -> Iterator[Path]:
    """A server that has nothing to do with the robot."""
    path = folder / "elsewhere.sock"
    with subprocess.Popen([sys.executable, "-c", _SINK, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield path
        finally:
            process.kill()


@contextmanager
def flooded(path: Path | None, clients: int, seed: int, case: Case) -> Iterator[None]:
    """While this lasts hostile clients are at a socket; at none without one."""
    processes = [
        subprocess.Popen(
            [sys.executable, _HOSTILE, path, "--seconds", str(_LONGEST_TASK_S), "--seed", str(seed + k)],
            stdout=subprocess.PIPE,
        )
        for k in range(clients if path is not None else 0)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            case.clients.update(json.loads(process.communicate()[0]))


def measure(rounds: int, clients: int, seed: int) -> dict[str, Case]:
    """Runs all of it; progress goes to stderr."""
    rng = np.random.default_rng(seed)
    cases = {name: Case() for name in CASES}
    with (
        tempfile.TemporaryDirectory() as folder,
        somebody_elses_socket(Path(folder)) as elsewhere,
        SimDevice(DeviceSpec(sample_scene(rng, NAMES))) as machine,
        ServiceBench(machine, (), seed, None) as bench,
    ):
        sockets = dict(zip(CASES, (None, elsewhere, bench.socket), strict=True))
        for turn in range(rounds * len(CASES)):
            name = CASES[turn % len(CASES)]
            case, task = cases[name], sample_task(rng)
            machine.begin(task, sample_scene(rng, NAMES).items)
            with flooded(sockets[name], clients, seed + turn * clients, case):
                reason = bench.do(task.text, None, delay_s=0.0)
            loop = bench.status()["loop"]
            case.p99_us.append(loop["late_us"])
            case.max_us.append(loop["late_max_us"])
            case.misses += loop["misses"]
            case.done.append(machine.judge())
            print(
                f"{turn + 1:3d} of {rounds * len(CASES)}  {name:<22} {task.text}: {reason}", file=sys.stderr, flush=True
            )
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="of three tasks (default: 10)")
    parser.add_argument("--clients", type=int, default=2, metavar="N", help="hostile processes (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="of tasks, tables and clients (default: 0)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write everything as JSON")
    options = parser.parse_args()
    cases = measure(options.rounds, options.clients, options.seed)
    print(f"{options.clients} hostile processes, load {os.getloadavg()[0]:.1f}")
    print(f"{'':<22} {'tasks':>5} {'p99 µs':>9} {'worst p99':>9} {'max µs':>9} {'misses':>7}   done   bad deeds")
    for name, case in cases.items():
        print(case.row(name))
    medians = {name: statistics.median(case.p99_us) for name, case in cases.items()}
    for other in CASES[:2]:
        print(f"p99, {CASES[2]} / {other}: {medians[CASES[2]] / medians[other]:.2f}")
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({name: vars(case) for name, case in cases.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
