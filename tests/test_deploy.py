"""What is installed on a robot, as far as it can be judged without one.

The script says what it would do; the unit holds what it promises.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge import config

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"


class Unit(configparser.RawConfigParser):
    """A systemd unit: keys keep their case and may come several times."""

    def __init__(self, path: Path) -> None:
        super().__init__(strict=False, delimiters=("=",), comment_prefixes=("#",), interpolation=None)
        self.optionxform = str  # type: ignore[assignment,method-assign]
        self.read(path)


def install(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(DEPLOY / "install.sh"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


def test_the_service_may_do_what_it_needs_and_no_more() -> None:
    service = Unit(DEPLOY / "edgearm.service")["Service"]
    assert service["Type"] == "notify"
    assert set(service["CapabilityBoundingSet"].split()) == {"CAP_SYS_NICE", "CAP_IPC_LOCK"}
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"]
    assert service["User"] != "root"
    assert service["PrivateNetwork"] == "yes"
    assert service["Restart"] == "on-failure"
    assert float(service["WatchdogSec"]) > 0
    assert int(service["LimitRTPRIO"]) >= config.Loop.priority


def test_devices_are_allowed_whether_their_driver_is_loaded_yet_or_not() -> None:
    """systemd looks names up in /proc/devices when the service starts; the arm may be plugged in later."""
    text = (DEPLOY / "edgearm.service").read_text()
    allowed = re.findall(r"^DeviceAllow=(\S+) rw$", text, re.MULTILINE)
    assert allowed == ["char-166", "char-188", "char-81", "/dev/cpu_dma_latency"]


def test_on_a_jetson_the_list_of_devices_is_open() -> None:
    """`auto` allows everything only where nothing is listed."""
    lines = [line for line in (DEPLOY / "jetson.conf").read_text().splitlines() if line.startswith("Device")]
    assert lines == ["DevicePolicy=auto", "DeviceAllow="]


def test_it_is_started_again_for_as_long_as_it_takes() -> None:
    assert Unit(DEPLOY / "edgearm.service")["Unit"]["StartLimitIntervalSec"] == "0"
    assert Unit(DEPLOY / "network.conf")["Unit"]["After"] == "network-online.target"


def test_the_stop_waits_for_the_arm_and_the_run_directory() -> None:
    """A planner may take its whole budget before its thread can be joined."""
    service = Unit(DEPLOY / "edgearm.service")["Service"]
    assert float(service["TimeoutStopSec"]) > config.Budgets.plan_s + 10


def test_the_configuration_that_is_installed_can_be_read() -> None:
    read = config.load(DEPLOY / "config.toml")
    service = Unit(DEPLOY / "edgearm.service")["Service"]
    assert read.service.socket == f"/run/{service['RuntimeDirectory']}/control.sock"
    assert read.service.store == f"/var/lib/{service['StateDirectory']}"
    assert read.runs.startswith(read.service.store)


def test_a_dry_run_says_everything_and_changes_nothing(tmp_path: Path) -> None:
    """Without any right and without a system to change: a user who may only look."""
    done = install("--dry-run", "--no-start", "--network", "--bundle", str(tmp_path / "mine"))
    if done.returncode and "no Python" in done.stderr:
        pytest.skip("the interpreter of this test is not on PATH")
    assert done.returncode == 0, done.stderr
    for what in ("edgearm.service", "99-edgearm.rules", "network.conf", "config.toml", "bundle install", "-m venv"):
        assert what in done.stdout
    assert not Path("/opt/edgearm").exists() or "ok" in done.stdout


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--bundel"], "unknown option --bundel"),
        (["--bundle"], "--bundle needs a value"),
        (["--dry-run", "--python", "/bin/false"], "no Python"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(options: list[str], what: str) -> None:
    done = install(*options)
    assert done.returncode == 2
    assert what in done.stderr
    assert "fix:" in done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "edgearm.service"
    text = (DEPLOY / "edgearm.service").read_text().replace("/opt/edgearm/venv/bin/edge", "/bin/true")
    unit.write_text(
        "\n".join(line for line in text.splitlines() if not line.startswith(("RestartSteps", "RestartMax")))
    )
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "edgearm.service" not in done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_the_script_is_clean() -> None:
    subprocess.run(["shellcheck", str(DEPLOY / "install.sh")], check=True)
