"""edgearm under a running systemd: installed, used, killed, hung, stopped, rebooted and cut off (`make test-systemd`).

What is judged is what the servos heard, where things are, and what the journal holds. The arm is outside of the machine
and has a supply of its own: what it would do when its own supply fails is not shown here.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from wire import Wire

from edge._core import SubtaskMemory
from learning.sim.device import DeviceSpec, SimDevice
from learning.tasks import sample
from machine.machine import CHECKOUT, PORT, Machine, Service

SYSTEM = os.environ.get("EDGEARM_SYSTEM", "")
pytestmark = pytest.mark.skipif(not SYSTEM, reason="make test-systemd boots a system for it")

SCENE, TASK = sample("swap", np.random.default_rng(7000))
CONFIG = """port = "{port}"
runs = "/var/lib/edgearm/runs"
[cameras]
front = "{front}"
wrist = "{wrist}"
[loop]
watchdog_ms = 1000
[service]
socket = "/run/edgearm/control.sock"
store = "/var/lib/edgearm"
"""
EXPOSURE = 2.5
"""Of `systemd-analyze security`, 0 to 10, with the network that these cameras need; below 5 is its "OK"."""


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Wire:
    return Wire(tmp_path_factory.mktemp("wire") / "heard")


@pytest.fixture(scope="module")
def arm(wire: Wire) -> Iterator[SimDevice]:
    with SimDevice(DeviceSpec(SCENE, TASK, wiretap=str(wire.path))) as device:
        os.chmod(device.port, 0o666)
        yield device


@pytest.fixture(scope="module")
def machine(arm: SimDevice, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(Path(SYSTEM), tmp_path_factory.mktemp("machine"), {PORT: arm.port})
    try:
        _clone(machine.disk / "root/edgearm")
        machine.boot()
        yield machine
    finally:
        machine.close()


@pytest.fixture(scope="module")
def service(machine: Machine, arm: SimDevice) -> Service:
    """As a person installs it: the script, the configuration, a start."""
    assert "would" in machine.run("/root/edgearm/deploy/install.sh", "--dry-run", "--wheels", "/wheels", "--network")
    assert not (machine.disk / "opt/edgearm").exists()
    said = machine.run("/root/edgearm/deploy/install.sh", "--wheels", "/wheels", "--network", "--no-start")
    assert "finished" in said
    config = CONFIG.format(port=PORT, front=arm.cameras["front"], wrist=arm.cameras["wrist"])
    (machine.disk / "etc/edgearm/config.toml").write_text(config)
    machine.run("systemctl", "start", Service.UNIT)
    return Service(machine)


@pytest.fixture(autouse=True)
def begin(service: Service, arm: SimDevice) -> None:
    """Every test finds the service idle and the table as at first."""
    service.machine.run("systemctl", "reset-failed")
    service.machine.run("systemctl", "start", Service.UNIT)
    service.machine.until(lambda: service.status().get("state") in ("idle", "fault"), "the service is there")
    service.tell("clear")
    service.idle()
    arm.begin(TASK, SCENE.items)


def _clone(folder: Path) -> None:
    """What git knows of this checkout, as it is now."""
    folder.mkdir(parents=True)
    names = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, check=True).stdout
    packed = subprocess.run(
        ["tar", "--create", "--null", "--files-from=-"], cwd=CHECKOUT, input=names, capture_output=True, check=True
    )
    subprocess.run(["tar", "--extract"], cwd=folder, input=packed.stdout, check=True)


def _moving(service: Service, wire: Wire) -> None:
    """In the midst of the task: a call is being done, and the arm is sent about."""
    assert service.tell("task", TASK.text, "--no-wait").returncode == 0
    service.acting()
    since = time.monotonic_ns()
    service.machine.until(
        lambda: len(goals := wire.goals(since)) > 50 and bool(np.ptp(goals, axis=0).max() > 20), "the arm moves"
    )


def _silent(wire: Wire, seconds: float = 1.0) -> bool:
    """Whether the servos hear nothing at all."""
    heard = len(wire.frames())
    time.sleep(seconds)
    return len(wire.frames()) == heard


def _stands(arm: SimDevice) -> bool:
    before = arm.state()["joints"]
    time.sleep(0.5)
    return bool(np.abs(np.subtract(arm.state()["joints"], before)).max() < 2e-3)


def _cut_short(service: Service) -> None:
    """Idle after a start, with a word about the task that did not end, and nothing done about it."""
    service.idle()
    assert "was cut short" in service.journal()


def test_a_second_installation_changes_nothing(service: Service) -> None:
    """A note says that no udev runs in a container."""
    said = service.machine.run("/root/edgearm/deploy/install.sh", "--wheels", "/wheels", "--network", "--no-start")
    assert {line.split()[0] for line in said.splitlines() if line} == {"found", "ok", "note", "finished"}, said


def test_an_update_that_fails_changes_nothing_and_one_that_works_is_switched_to(service: Service) -> None:
    machine, prefix = service.machine, service.machine.disk / "opt/edgearm"
    before, process = os.readlink(prefix / "venv"), service.property("MainPID")
    with (machine.disk / "root/edgearm/edge/__init__.py").open("a") as source:
        source.write("# a newer version\n")
    failed = machine.ask("/root/edgearm/deploy/install.sh", "--network", "--wheels", "/root")  # where there are none
    assert failed.returncode != 0
    assert os.readlink(prefix / "venv") == before
    assert service.property("MainPID") == process
    assert service.tell("status").returncode == 0
    machine.run("/root/edgearm/deploy/install.sh", "--network", "--wheels", "/wheels")
    after = os.readlink(prefix / "venv")
    assert after != before
    assert {path.name for path in prefix.glob("venv-*")} == {before, after}
    machine.until(lambda: service.property("MainPID") not in (process, "0"), "the service runs in the new environment")
    service.idle()
    assert f"/opt/edgearm/{after}/" in (service.main() / "maps").read_text()


def test_udev_understands_the_rules(service: Service) -> None:
    if int(service.machine.run("udevadm", "--version")) < 254:
        pytest.skip("udevadm verify came with systemd 254: RELEASE=noble")
    service.machine.run("udevadm", "verify", "/etc/udev/rules.d/99-edgearm.rules")


def test_it_does_a_task_and_the_arm_is_off_after_it(service: Service, arm: SimDevice, wire: Wire) -> None:
    assert _silent(wire)  # idle, it does not speak to the arm
    said = service.tell("task", TASK.text)
    assert said.returncode == 0, said.stdout + said.stderr
    assert arm.judge(), arm.state()
    assert wire.torque()[-6:] == [0] * 6
    runs = sorted((service.machine.disk / "var/lib/edgearm/runs").iterdir())
    assert {"front.mp4", "timeline.png", "memory.journal"} <= {file.name for file in runs[-1].iterdir()}


def test_who_is_not_in_the_group_gives_no_commands(service: Service) -> None:
    service.machine.run("useradd", "--create-home", "stranger")
    service.machine.run("useradd", "--create-home", "--groups", "edgearm", "colleague")
    refused = service.tell("status", user="stranger")
    assert refused.returncode == 2
    assert "add yourself to the group" in refused.stderr
    assert service.tell("status", user="colleague").returncode == 0


def test_it_has_the_rights_it_needs_and_no_others(service: Service) -> None:
    status = (service.main() / "status").read_text()
    held = {name: int(value, 16) for name, value in re.findall(r"Cap(\w+):\s+(\w+)", status)}
    needed = 1 << 23 | 1 << 14  # CAP_SYS_NICE, CAP_IPC_LOCK
    assert held == {"Inh": needed, "Prm": needed, "Eff": needed, "Bnd": needed, "Amb": needed}
    assert re.search(r"NoNewPrivs:\s+1", status)
    assert re.search(r"Seccomp:\s+2", status)
    said = service.machine.run("systemd-analyze", "security", Service.UNIT, "--no-pager")
    exposure = re.search(r"Overall exposure level[^:]*: ([\d.]+)", said)
    assert exposure is not None, said
    print(f"systemd-analyze security, with the network: {exposure[1]}")
    assert float(exposure[1]) < EXPOSURE


def test_the_loop_has_real_time_priority(service: Service, wire: Wire) -> None:
    _moving(service, wire)
    policies = [int(_stat(task)[38]) for task in (service.main() / "task").iterdir()]  # field 41, after the name
    assert 1 in policies  # SCHED_FIFO
    service.tell("stop")


def _stat(task: Path) -> list[str]:
    return (task / "stat").read_text().rsplit(")", 1)[1].split()


def test_killed_it_is_started_again_and_moves_nothing(service: Service, arm: SimDevice, wire: Wire) -> None:
    restarts = int(service.property("NRestarts"))
    _moving(service, wire)
    service.signal("KILL")
    service.machine.until(lambda: int(service.property("NRestarts")) == restarts + 1, "systemd starts it again")
    _cut_short(service)
    assert _silent(wire)
    assert _stands(arm)
    assert wire.torque()[-6:] == [1] * 6  # it holds what it has, where it is
    said = service.tell("resume")
    assert said.returncode == 0, said.stdout + said.stderr
    assert arm.judge(), arm.state()


def test_hung_it_is_killed_by_the_watchdog(service: Service, arm: SimDevice, wire: Wire) -> None:
    restarts = int(service.property("NRestarts"))
    _moving(service, wire)
    service.signal("STOP")
    service.machine.until(lambda: int(service.property("NRestarts")) == restarts + 1, "systemd starts it again")
    assert "Watchdog timeout" in service.journal()
    _cut_short(service)
    assert _silent(wire)
    assert _stands(arm)


def test_stopped_it_brings_the_arm_to_rest_first(service: Service, arm: SimDevice, wire: Wire) -> None:
    _moving(service, wire)
    service.machine.run("systemctl", "stop", Service.UNIT)
    assert service.property("Result") == "success"
    _came_to_rest(wire)
    assert _stands(arm)
    assert "the arm is at rest" in service.journal()


def _came_to_rest(wire: Wire) -> None:
    """The last that the servos heard: goals that hardly change any more, then torque off."""
    assert np.ptp(wire.goals()[-5:], axis=0).max() <= 1
    assert wire.torque()[-6:] == [0] * 6


def test_it_starts_by_itself_after_a_reboot_in_the_midst_of_a_task(
    service: Service, arm: SimDevice, wire: Wire
) -> None:
    _moving(service, wire)
    service.machine.reboot()
    _came_to_rest(wire)
    service.idle()
    assert _silent(wire)
    assert _stands(arm)
    before = service.machine.run("journalctl", "--boot=-1", "--unit", Service.UNIT, "--output=cat", "--no-pager")
    assert "the arm is at rest" in before
    runs = sorted((service.machine.disk / "var/lib/edgearm/runs").iterdir())
    assert SubtaskMemory.peek(str(runs[-1] / "memory.journal")).ending == "failed"
    assert {"front.mp4", "timeline.png"} <= {file.name for file in runs[-1].iterdir()}  # it was completed


def test_it_starts_by_itself_after_the_power_was_cut(service: Service, arm: SimDevice, wire: Wire) -> None:
    _moving(service, wire)
    service.machine.cut_power()
    assert _silent(wire)
    service.machine.boot()
    _cut_short(service)
    assert _silent(wire)
    assert _stands(arm)
    assert service.tell("task", TASK.text, "--no-wait").returncode == 0
    service.acting()
    assert service.tell("stop").returncode == 0


def test_uninstalled_it_leaves_nothing(service: Service) -> None:
    """The last of this file: there is no service after it."""
    service.machine.run("/root/edgearm/deploy/install.sh", "uninstall", "--purge")
    for path in ("opt/edgearm", "etc/edgearm", "var/lib/edgearm", "usr/local/bin/edge"):
        assert not (service.machine.disk / path).exists(), path
    assert service.property("LoadState") == "not-found"
    assert service.machine.ask("getent", "passwd", "edgearm").returncode != 0
