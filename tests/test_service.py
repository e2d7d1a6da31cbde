"""`edge serve` as a process on an emulated servo bus and network cameras, with this test as its service manager.

What is judged is what the servos heard, what the journal holds, and what the manager was told.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_cameras import Server
from test_policy import write_graph
from test_run import STANDING, TASK, bundle_of
from wire import Wire

from edge._core import SubtaskMemory
from edge.errors import ServiceError
from edge.manifest import MANIFEST
from edge.service.client import Client
from edge.service.messages import Request
from edge.store import STARTS, BundleStore
from firmware_bridge.emulators import BusProcess

WATCHDOG_S = 3.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("untrained")
    return bundle_of(write_graph(root / "policy.onnx", stands_still=True), root)


class Manager:
    """Does for `edge serve` what systemd does: starts it, hears it, and knows when its watchdog is overdue."""

    def __init__(self, bundle: Path, root: Path, *, store: Path | None = None, keep_runs_mb: float = 0.0) -> None:
        self.root, self.socket = root, root / "control.sock"
        self.wire = Wire(root / "wire")
        self.bus = BusProcess(position=STANDING, holding=STANDING, wiretap=self.wire.path)
        self.front, self.wrist = Server(), Server()
        self.told: list[str] = []
        self.fed = 0.0
        self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ear.bind(str(root / "notify"))
        self._ear.setblocking(False)
        config = root / "service.toml"
        config.write_text(
            f'bundle = "{bundle}"\nport = "{self.bus.port}"\nruns = "runs"\n'
            f'[cameras]\nfront = "{self.front.url}"\nwrist = "{self.wrist.url}"\ngone_s = 2.0\n'
            "[budgets]\nplan_attempts = 30\ncall_s = 3600.0\nretries = 1000\ncalls = 200\n[loop]\nwatchdog_ms = 2000\n"
            f'[service]\nsocket = "{self.socket}"\nstore = "{store or ""}"\nkeep_runs_mb = {keep_runs_mb}\n'
        )
        self.command = [sys.executable, "-m", "edge.cli", "serve", "--config", str(config)]
        self.out = root / "out.txt"
        self.start()

    def start(self) -> None:
        environment = os.environ | {
            "NOTIFY_SOCKET": str(self.root / "notify"),
            "WATCHDOG_USEC": f"{WATCHDOG_S * 1e6:.0f}",
        }
        environment["PYTHONUNBUFFERED"] = "1"
        with self.out.open("ab") as out:
            self.process = subprocess.Popen(self.command, stdout=out, stderr=subprocess.STDOUT, env=environment)

    def listen(self) -> None:
        while True:
            try:
                message = self._ear.recv(4096).decode()
            except BlockingIOError:
                return
            self.told += message.split("\n")
            if message == "WATCHDOG=1":
                self.fed = time.monotonic()

    def until(self, condition: Callable[[], bool], *, alive: bool = True) -> None:
        for _ in range(1800):
            self.listen()
            if condition():
                return
            assert not alive or self.process.poll() is None, self.out.read_text()
            time.sleep(0.1)
        raise AssertionError(f"it never came to that\n{self.out.read_text()}")

    def ready(self) -> Manager:
        self.until(lambda: "READY=1" in self.told)
        return self

    def ask(self, command: str, **more: Any) -> dict[str, Any]:
        with Client(self.socket) as client:
            return client.ask(Request(command, **more))

    def state(self) -> str:
        return str(self.ask("status")["state"])

    def acting(self) -> None:
        """Until a call is being done."""
        self.until(lambda: self.ask("status")["call"] != "")

    def locked_kb(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmLck:")))

    def runs(self) -> list[Path]:
        return sorted((self.root / "runs").iterdir())

    def edge(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edge.cli", *words, "--socket", str(self.socket)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for server in (self.front, self.wrist):
            server.hang_up.set()
            server.shutdown()
            server.server_close()
        self.bus.close()
        self._ear.close()


@pytest.fixture
def manage(bundle: Path, tmp_path: Path) -> Iterator[Callable[..., Manager]]:
    managers: list[Manager] = []

    def begin(**more: Any) -> Manager:
        managers.append(Manager(bundle, tmp_path, **more))
        return managers[-1]

    yield begin
    for manager in managers:
        manager.close()


def test_tasks_one_after_the_other_and_the_arm_off_between_them(manage: Callable[..., Manager]) -> None:
    service = manage().ready()
    assert service.state() == "idle"
    assert not service.wire.frames()  # ready, and the arm was not spoken to
    for number in (1, 2):
        assert service.ask("task", text=TASK)["accepted"] == TASK
        with pytest.raises(ServiceError, match="another task"):
            service.ask("task", text=TASK)
        service.acting()
        assert (service.bus.block.torque == 1).all()
        with Client(service.socket) as follower:
            assert follower.ask(Request("status", follow=True))["task"] == TASK
            assert service.ask("stop")["stopped"] == TASK
            news = list(follower.follow())
        assert news[-1]["ended"]["reason"] == "stopped by edge stop"
        service.until(lambda: service.state() == "idle")
        assert (service.bus.block.torque == 0).all()
        assert len(service.runs()) == number
        service.until(lambda: service.locked_kb() == 0)  # what a run locks is free to go again
    assert service.ask("stop")["stopped"] == ""
    with pytest.raises(ServiceError, match="pink"):
        service.ask("task", text="put the pink cube on the blue plate")
    service.process.terminate()
    assert service.process.wait(60) == 0
    service.listen()
    assert "STOPPING=1" in service.told
    assert not service.socket.exists()


def test_old_runs_make_room(manage: Callable[..., Manager], tmp_path: Path) -> None:
    for day in (1, 2, 3):
        run = tmp_path / "runs" / f"2026-01-{day:02d}-120000"
        run.mkdir(parents=True)
        (run / "front.mp4").write_bytes(bytes(600_000))
    service = manage(keep_runs_mb=1.0).ready()
    service.until(lambda: [run.name for run in service.runs()] == ["2026-01-03-120000"])
    service.ask("task", text=TASK)
    service.acting()
    service.ask("stop")
    service.until(lambda: service.state() == "idle")
    assert service.runs()[0].name == "2026-01-03-120000"  # both fit
    assert len(service.runs()) == 2
    assert "keep_runs_mb" in service.out.read_text()


def test_the_commands_a_person_uses(manage: Callable[..., Manager]) -> None:
    service = manage().ready()
    answer = service.edge("task", TASK, "--no-wait")
    assert (answer.returncode, answer.stdout) == (0, f"accepted  {TASK}\n")
    service.acting()
    shown = service.edge("status").stdout
    assert "state     running" in shown
    assert TASK in shown
    assert json.loads(service.edge("status", "--json").stdout)["task"] == TASK
    following = subprocess.Popen(
        [sys.executable, "-m", "edge.cli", "status", "--follow", "--socket", str(service.socket)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert following.stdout is not None
    assert following.stdout.readline() == "state     running\n"
    assert TASK in service.edge("stop").stdout
    out, _ = following.communicate(timeout=120)
    assert "ended     not finished: stopped by edge stop" in out
    assert following.returncode == 1
    assert "no fault" in service.edge("clear").stdout
    looked = subprocess.run(
        [sys.executable, "-m", "edge.cli", "doctor", "--config", str(service.root / "service.toml")],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    for words in ("ok     arm       6 servos", "ok     front", "ok     service   idle"):
        assert words in looked.stdout, looked.stdout + looked.stderr
    assert "nothing runs" in service.edge("stop").stdout
    refused = service.edge("task", "put the pink cube on the blue plate")
    assert refused.returncode == 2
    assert "pink" in refused.stderr


def test_a_fault_waits_for_somebody_to_clear_it(manage: Callable[..., Manager]) -> None:
    service = manage().ready()
    service.ask("task", text=TASK)
    service.acting()
    service.bus.block.silent[2] = 1  # its cable is out
    service.until(lambda: service.state() == "fault")
    with pytest.raises(ServiceError, match="fault stopped the arm"):
        service.ask("task", text=TASK)
    service.bus.block.silent[2] = 0
    assert "elbow_flex" in service.ask("clear")["cleared"]
    heard = len(service.wire.frames())
    time.sleep(0.5)
    assert len(service.wire.frames()) == heard  # cleared is not started
    service.ask("task", text=TASK)
    service.acting()
    service.ask("stop")


def test_killed_it_leaves_a_journal_and_resumes_only_when_told_to(manage: Callable[..., Manager]) -> None:
    service = manage().ready()
    service.ask("task", text=TASK)
    service.acting()
    service.process.send_signal(signal.SIGKILL)
    service.process.wait()
    goals = service.bus.block.goal.copy()
    (run,) = service.runs()
    assert SubtaskMemory.peek(str(run / "memory.journal")).task == TASK
    service.told.clear()
    service.start()
    service.ready()
    assert "was cut short" in service.out.read_text()
    assert service.state() == "idle"
    heard = len(service.wire.frames())
    time.sleep(1.0)
    assert len(service.wire.frames()) == heard
    assert (service.bus.block.goal == goals).all()
    with pytest.raises(ServiceError, match="not a run of this service"):
        service.ask("resume", run="../../etc")
    service.ask("resume")
    service.until(lambda: len(service.runs()) == 2 and service.ask("status")["task"] == TASK)
    service.ask("stop")
    service.until(lambda: service.state() == "idle")
    memory = SubtaskMemory.peek(str(service.runs()[1] / "memory.journal"))
    assert next(row["outcome"] for row in memory.calls()) == "timeout"  # the call that was cut short


def test_hanging_it_does_not_feed_the_watchdog(manage: Callable[..., Manager]) -> None:
    service = manage().ready()
    service.ask("task", text=TASK)
    service.acting()
    before = service.fed
    service.until(lambda: service.fed > before)
    service.process.send_signal(signal.SIGSTOP)
    service.listen()
    stopped = service.fed
    goals = service.bus.block.goal.copy()
    time.sleep(2 * WATCHDOG_S)
    service.listen()
    assert service.fed == stopped  # here systemd sends SIGABRT and starts it again
    assert (service.bus.block.goal == goals).all()
    service.process.send_signal(signal.SIGABRT)
    service.process.send_signal(signal.SIGCONT)
    service.process.wait()
    service.told.clear()
    service.start()
    assert service.ready().state() == "idle"
    assert (service.bus.block.goal == goals).all()


def test_a_planner_that_hangs_ends_the_service_at_rest_with_an_error(
    manage: Callable[..., Manager], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked"
    hang = "import ctypes, pathlib\nfrom edge.planner.session import Session\n"
    hang += f"Session.encode_image = lambda *_: (pathlib.Path({str(asked)!r}).touch(), ctypes.CDLL(None).pause())\n"
    (tmp_path / "sitecustomize.py").write_text(hang)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        service = manage().ready()
    service.ask("task", text=TASK)
    service.until(asked.exists)
    assert (service.bus.block.torque == 1).all()
    service.ask("stop")
    service.until(lambda: service.process.poll() is not None, alive=False)
    assert service.process.returncode == 2  # systemd starts it again
    assert (service.bus.block.torque == 0).all()
    said = service.out.read_text()
    assert "error: the planner does not come back" in said
    assert "Traceback" not in said
    (run,) = service.runs()
    assert json.loads((run / "log.jsonl").read_text().splitlines()[-1])["kind"] == "exit"
    assert (run / "joints.npz").is_file()
    service.told.clear()
    service.start()
    assert service.ready().state() == "idle"


def test_a_terminated_task_comes_to_rest_first(manage: Callable[..., Manager]) -> None:
    service = manage().ready()
    service.ask("task", text=TASK)
    service.acting()
    service.process.terminate()
    assert service.process.wait(60) == 0
    assert (service.bus.block.torque == 0).all()
    memory = SubtaskMemory.peek(str(service.runs()[0] / "memory.journal"))
    assert memory.ending == "failed"
    assert "ended     the arm is at rest" in service.out.read_text()


def test_a_bundle_that_does_not_become_ready_is_taken_back(
    manage: Callable[..., Manager], bundle: Path, tmp_path: Path
) -> None:
    store = BundleStore(tmp_path / "store")
    store.use(store.install(bundle))
    service = manage(store=store.root).ready()
    first = store.current().name
    assert [entry.good for entry in store.list()] == [True]
    bad = tmp_path / "bad"
    shutil.copytree(bundle, bad)
    manifest = json.loads((bad / MANIFEST).read_text())
    manifest["robot"] = "another"  # whole, and of no use here
    (bad / MANIFEST).write_text(json.dumps(manifest))
    store.use(store.install(bad))
    for _ in range(STARTS):
        service.process.terminate()
        service.process.wait(60)
        service.start()
        assert service.process.wait(60) == 2
        assert store.current().name != first
    service.told.clear()
    service.start()
    service.ready()
    assert store.current().name == first
    assert f"back to {first}" in service.out.read_text()
    assert first in service.ask("status")["bundle"]
