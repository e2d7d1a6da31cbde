"""What benchmarks/soak.py runs: `edge serve` on an emulated machine, its service manager, and what disturbs it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from benchmarks.soak_report import Sample
from edge.errors import BusyError, ServiceError
from edge.service.client import Client
from edge.service.messages import Request
from firmware_bridge.emulators.faults import FaultPlan
from firmware_bridge.emulators.faulty_port import FaultyPort
from learning.sim.device import SimDevice

WATCHDOG_S = 5.0
_SAMPLE_S = 5.0
_T = TypeVar("_T")
_ROOT = Path(__file__).resolve().parents[1]


class Disturbance(Enum):
    """What happens during a task, once."""

    CAMERA = "camera"
    """Both cameras stand still for a second."""
    SILENCE = "silence"
    """The bus is silent for 100 ms: the arm holds, and goes on."""
    CABLE = "cable"
    """The bus is silent for longer than the watchdog allows: a fault. Somebody clears it and resumes."""
    STOP = "stop"
    """Somebody says stop, and resumes."""
    FLOOD = "flood"
    """Clients send garbage to the service's socket for three seconds."""


class ServiceBench:
    """A running service; `with` starts and stops it.

    Args:
        machine: The emulated machine.
        faults: On every frame of its bus.
        seed: Of the faults.
        runs: Where run directories go; None for a directory that is removed.

    Attributes:
        socket: Where it listens for commands.
        samples: What was seen of the service, every few seconds.
        unfed_s: The longest time between two signs to the watchdog.
        restarts: How often the service had to be started again.
        faults_cleared: How often somebody had to say `clear`.
    """

    def __init__(self, machine: SimDevice, faults: tuple[str, ...], seed: int, runs: Path | None) -> None:
        self.samples: list[Sample] = []
        self.unfed_s = 0.0
        self.restarts = self.faults_cleared = 0
        self._stack = contextlib.ExitStack()
        self._root = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._line = FaultyPort(machine.port, FaultPlan.of(list(faults), seed))
        self._stack.callback(self._line.close)
        self._machine, self._seed = machine, seed
        self.socket = self._root / "control.sock"
        self._ear = self._stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self._ear.bind(str(self._root / "notify"))
        self._ear.settimeout(0.5)
        self._ready, self._over = threading.Event(), threading.Event()
        config = self._root / "config.toml"
        config.write_text(
            f'bundle = "{_ROOT / "models/reference"}"\nport = "{self._line.port}"\n'
            f'runs = "{(runs or self._root / "runs").resolve()}"\n'
            f'[cameras]\nfront = "{machine.cameras["front"]}"\nwrist = "{machine.cameras["wrist"]}"\n'
            f'[loop]\nkeep_torque = true\n[service]\nsocket = "{self.socket}"\n'
        )
        self._command = [sys.executable, "-m", "edge.cli", "serve", "--config", str(config)]
        self._began = time.monotonic()

    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    def frames_hit(self) -> dict[str, int]:
        """How often each kind of fault has happened on the bus."""
        counts: dict[str, int] = {}
        for line in self._line.lines.values():
            for kind, count in line.counts.items():
                counts[kind] = counts.get(kind, 0) + count
        return counts

    def do(self, text: str, disturbance: Disturbance | None, delay_s: float) -> str:
        """Does a task, and goes on with it if it was stopped on purpose; returns the reason of its end."""
        timer = threading.Timer(delay_s, self._disturb, (disturbance,))
        timer.daemon = True
        timer.start()
        try:
            ended = self._follow(Request("task", text=text, follow=True))
            stopped = {Disturbance.STOP: "edge stop", Disturbance.CABLE: "the arm stopped"}
            if disturbance in stopped and stopped[disturbance] in ended:
                timer.join()  # the cable is in again
                self._clear()
                ended = self._follow(Request("resume", follow=True))
            return ended
        finally:
            timer.cancel()
            timer.join()
            self._clear()

    def __enter__(self) -> ServiceBench:
        self._start()
        for work in (self._listen, self._sample):
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            self._stack.callback(thread.join)
        self._stack.callback(self._over.set)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._process.terminate()
        try:
            self._process.wait(60)
        finally:
            self._process.kill()
            self._stack.close()

    # --- the service ------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        environment = {"NOTIFY_SOCKET": str(self._root / "notify"), "WATCHDOG_USEC": f"{WATCHDOG_S * 1e6:.0f}"}
        self._process = subprocess.Popen(
            self._command, env=os.environ | environment, stdout=subprocess.DEVNULL, cwd=_ROOT
        )
        while not self.socket.exists():
            if self._process.poll() is not None:
                raise RuntimeError(f"edge serve ended with status {self._process.returncode}")
            time.sleep(0.1)

    def _follow(self, request: Request) -> str:
        """Gives a command, and returns the reason of the task's end."""

        def talk(client: Client) -> str:
            client.ask(request)
            for news in client.follow():
                if "ended" in news:
                    return str(news["ended"]["reason"])
            raise AssertionError("follow() ends with the end")

        return self._let_in(talk)

    def status(self) -> dict[str, Any]:
        """What the service says of itself."""
        return self._let_in(lambda client: client.ask(Request("status")))

    def _let_in(self, talk: Callable[[Client], _T]) -> _T:
        """Talks to the service; tries again, as a person would, while hostile clients fill all of its places."""
        while True:
            with contextlib.suppress(BusyError), Client(self.socket) as client:
                return talk(client)
            time.sleep(0.05)

    def _clear(self) -> None:
        if self._settled() == "fault":
            self.faults_cleared += 1
        while self._settled() == "fault":
            with contextlib.suppress(ServiceError), Client(self.socket) as client:
                client.ask(Request("clear"))

    def _settled(self) -> str:
        while (state := str(self.status()["state"])) not in ("idle", "fault"):
            time.sleep(0.1)
        return state

    # --- what disturbs it -------------------------------------------------------------------------------------------

    def _disturb(self, disturbance: Disturbance | None) -> None:
        match disturbance:
            case Disturbance.CAMERA:
                self._pause(_children(self._machine.pid, "camera_server"), 1.0)
            case Disturbance.SILENCE:
                self._pause(_children(self._machine.pid, "emulators.server"), 0.1)
            case Disturbance.CABLE:
                self._pause(_children(self._machine.pid, "emulators.server"), 0.6)
            case Disturbance.STOP:
                with contextlib.suppress(ServiceError), Client(self.socket) as client:
                    client.ask(Request("stop"))
            case Disturbance.FLOOD:
                self._flood(3.0)

    @staticmethod
    def _pause(processes: list[int], seconds: float) -> None:
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        time.sleep(seconds)
        for process in processes:
            os.kill(process, signal.SIGCONT)

    def _flood(self, seconds: float) -> None:
        client = Path(__file__).with_name("hostile_client.py")
        words = [sys.executable, client, self.socket, "--seconds", str(seconds), "--seed", str(self._seed)]
        subprocess.run(words, stdout=subprocess.DEVNULL, check=True)

    # --- what is written down ---------------------------------------------------------------------------------------

    def _listen(self) -> None:
        fed = time.monotonic()
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                if self._ear.recv(4096) == b"WATCHDOG=1":
                    now = time.monotonic()
                    self.unfed_s, fed = max(self.unfed_s, now - fed), now

    def _sample(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            process = Path(f"/proc/{self._process.pid}")
            with contextlib.suppress(OSError, ServiceError, KeyError):
                fields = dict(
                    line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line
                )
                loop = self.status()["loop"]
                self.samples.append(
                    Sample(
                        self.seconds(),
                        int(fields["VmRSS"].split()[0]) / 1024,
                        len(list((process / "fd").iterdir())),
                        int(fields["Threads"]),
                        loop.get("late_us"),
                        loop.get("late_max_us"),
                    )
                )


def _children(parent: int, word: str) -> list[int]:
    """Processes below `parent` with a word on their command line."""
    parents, found = {}, []
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            with contextlib.suppress(OSError, IndexError):
                parents[int(path.name)] = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if word in (path / "cmdline").read_text():
                    found.append(int(path.name))

    def below(process: int) -> bool:
        while process > 1:
            if process == parent:
                return True
            process = parents.get(process, 0)
        return False

    return [process for process in found if below(process)]
