"""`edge doctor` on a machine on which the service runs: it holds the cameras, and during a task the arm."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edge import cli, config, doctor
from edge.config import Cameras, RunConfig, Service
from edge.errors import CameraError
from edge.probe_service import look
from edge.service.messages import Request
from edge.service.server import CommandServer
from edge.tabletop import API
from firmware_bridge.emulators import BusProcess

STATUS = {
    "ok": True, "state": "idle", "fault": "", "up_s": 7200.0, "bundle": "/var/lib/edgearm/bundles/x",
    "backend": "onnx", "camera_age_ms": {"front": 14, "wrist": 4000},
}  # fmt: skip


def service(path: Path, **told: Any) -> CommandServer:
    def answer(request: Request) -> tuple[Mapping[str, Any], int]:
        assert request.command == "status"
        return STATUS | told, 0

    return CommandServer(path, answer)


def examined(where: Path, port: str, capsys: pytest.CaptureFixture[str]) -> str:
    cameras = Cameras(front=str(where / "no front"), wrist=str(where / "no wrist"))
    doctor.examine(RunConfig(port=port, cameras=cameras, service=Service(socket=str(where / "socket"))), API)
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def busy_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cameras that somebody else holds, without the wait for a first frame."""

    def refuse(name: str, address: str) -> None:
        raise CameraError(f"camera {name!r} does not open: {address}", got="Device or resource busy")

    monkeypatch.setattr(doctor, "Camera", refuse)


def test_its_cameras_are_judged_by_the_frames_that_it_gets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with service(tmp_path / "socket"), BusProcess() as bus:
        said = examined(tmp_path, bus.port, capsys)
    assert f"ok     front     {tmp_path / 'no front'}: the service has it, and a frame 14 ms old" in said
    assert "wrong  wrist" in said  # four seconds old
    assert "ok     service   idle, up 2.0 h, /var/lib/edgearm/bundles/x, policy on onnx" in said
    assert "ok     arm       6 servos" in said


def test_an_arm_at_work_is_not_spoken_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with service(tmp_path / "socket", state="running"), BusProcess() as bus:
        said = examined(tmp_path, bus.port, capsys)
    assert "the service is at work with the arm" in said
    assert " port " not in said
    assert " arm  " not in said


def test_its_fault_is_wrong_and_has_the_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with service(tmp_path / "socket", state="fault", fault="the arm stopped: watchdog\n  got: silence"):
        said = examined(tmp_path, "", capsys)
    assert "wrong  service   fault: the arm stopped: watchdog\n" in said
    assert "edge clear" in said


def test_without_a_service_nothing_is_said_of_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = examined(tmp_path, "", capsys)
    assert " service   " not in said
    assert "wrong  front" in said


def test_a_socket_that_nobody_answers_at_is_wrong(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "socket"))
    finding = look(tmp_path / "socket").finding
    assert finding is not None
    assert (finding.level, finding.what) == ("wrong", "service")
    assert "systemctl start" in finding.fix


def test_who_may_not_ask_is_told_of_the_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root, as which this may run, may ask every service."""

    def refuse(self: socket.socket, address: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    finding = look(tmp_path / "socket").finding
    assert finding is not None
    assert finding.level == "note"
    assert "group" in finding.fix


def test_without_a_word_it_is_about_the_installed_service(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "config.toml"
    installed.write_text(f'port = "/dev/not_there"\n[service]\nsocket = "{tmp_path / "socket"}"\n')
    monkeypatch.setattr(config, "INSTALLED", installed)
    assert cli.main(["doctor"]) == 2
    said = capsys.readouterr().out
    assert f"the service's {installed}" in said
    assert "port /dev/not_there does not exist" in said
    assert cli.main(["doctor", "--port", "/dev/neither"]) == 2
    said = capsys.readouterr().out
    assert "/dev/not_there" not in said
    monkeypatch.setattr(config, "INSTALLED", tmp_path / "none")
    assert cli.main(["doctor"]) == 2
    assert "--port is not given" in capsys.readouterr().out
