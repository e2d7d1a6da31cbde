"""Everything a person can get wrong with `edge run`, through the real command line: what is said, and how it exits."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bundles import write_bundle

from edge.cli import main
from edge.manifest import MANIFEST
from edge.store import BundleStore

TASK = "put the red cube on the blue plate"


def edge(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The message, after checking that it is one: status 2, typed, no traceback."""
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: "), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture
def tty() -> Iterator[str]:
    """A serial port with nothing on it."""
    master, slave = pty.openpty()
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


@pytest.fixture
def rig(tmp_path: Path, tty: str) -> list[str | Path]:
    """Arguments that are right as far as they go: a bundle, a port, and a run directory; the cameras point nowhere."""
    return [
        *("run", "--bundle", write_bundle(tmp_path), "--port", tty, "--runs", tmp_path / "runs"),
        *("--front", "http://127.0.0.1:9/front", "--wrist", "http://127.0.0.1:9/wrist"),
    ]


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("", "the task is empty"),
        ("put the pink cube on the blue plate", "no pink cube"),
        ("pick the gren cube", "did you mean 'green cube'"),
        ("make coffee", "names no object"),
    ],
)
def test_a_task_the_robot_cannot_know_is_refused_before_anything_is_opened(
    rig: list[str | Path], tmp_path: Path, task: str, words: str
) -> None:
    assert words in error_of(edge(*rig, "--task", task))
    assert not (tmp_path / "runs").exists()


def test_no_bundle_says_how_to_make_one(rig: list[str | Path], tmp_path: Path) -> None:
    message = error_of(edge(*rig, "--task", TASK, "--bundle", tmp_path / "nowhere"))
    assert "no bundle at" in message
    assert "python -m export bundle" in message


def test_a_damaged_bundle_names_the_file(rig: list[str | Path], tmp_path: Path) -> None:
    (tmp_path / "bundle/planner.gguf").write_bytes(b"something else")
    assert "planner.gguf of the bundle is not the file it was made with" in error_of(edge(*rig, "--task", TASK))


def test_an_incomplete_bundle_names_the_file(rig: list[str | Path], tmp_path: Path) -> None:
    (tmp_path / "bundle/policy.onnx").unlink()
    assert "the bundle lacks policy.onnx" in error_of(edge(*rig, "--task", TASK))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"shoulder_pan"', '"base_pan"', "another joints"),
        ('"api_hash": "', '"api_hash": "0', "another robot API"),
        ('"api_hash"', '"api_hsh"', "did you mean 'api_hash'"),
    ],
)
def test_a_bundle_for_another_robot_is_refused(
    rig: list[str | Path], tmp_path: Path, old: str, new: str, words: str
) -> None:
    manifest = tmp_path / "bundle" / MANIFEST
    manifest.write_text(manifest.read_text().replace(old, new))
    assert words in error_of(edge(*rig, "--task", TASK))


def test_a_port_that_does_not_exist_is_named(rig: list[str | Path]) -> None:
    assert "port /dev/ttyNONE does not exist" in error_of(edge(*rig, "--task", TASK, "--port", "/dev/ttyNONE"))


def test_a_port_that_is_none_is_named(rig: list[str | Path]) -> None:
    assert "/dev/null is not a serial port" in error_of(edge(*rig, "--task", TASK, "--port", "/dev/null"))


def test_a_busy_port_is_named(rig: list[str | Path], tty: str) -> None:
    handle = os.open(tty, os.O_RDWR | os.O_NOCTTY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert f"port {tty} is busy" in error_of(edge(*rig, "--task", TASK))
    finally:
        os.close(handle)


def test_a_camera_that_does_not_open_is_named_with_its_address(rig: list[str | Path]) -> None:
    message = error_of(edge(*rig, "--task", TASK))
    assert "camera 'front' does not open: http://127.0.0.1:9/front" in message


def test_no_log_is_lost_when_a_run_does_not_start(rig: list[str | Path], tmp_path: Path) -> None:
    edge(*rig, "--task", TASK)
    (directory,) = (tmp_path / "runs").iterdir()
    log = (directory / "log.jsonl").read_text()
    assert TASK in log
    assert "camera 'front' does not open" in log
    assert log.endswith("}\n")


def test_what_is_not_given_is_asked_for(rig: list[str | Path], tmp_path: Path) -> None:
    message = error_of(edge("run", "--task", TASK, "--bundle", tmp_path / "bundle", "--runs", tmp_path / "runs"))
    assert "--front is not given" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = '/dev/ttyACM0'", "did you mean 'port'"),
        ("[cameras]\nfrnt = '0'", "did you mean 'front'"),
        ("port =", "not TOML"),
        ("[loop]\nbus_hz = 2000", "the link cannot carry this bus rate"),
        ("[loop]\nrate_hz = 5", "loop.rate_hz cannot be used"),
        ("[loop]\ncpu = 4096", "loop.cpu cannot be used"),
    ],
)
def test_a_mistake_in_the_configuration_names_the_remedy(
    rig: list[str | Path], tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "arm.toml").write_text(text)
    assert words in error_of(edge(*rig, "--task", TASK, "--config", tmp_path / "arm.toml"))


def test_a_run_directory_that_cannot_be_made_is_named(rig: list[str | Path]) -> None:
    assert "cannot make a run directory" in error_of(edge(*rig, "--task", TASK, "--runs", "/dev/null/runs"))


def test_nothing_to_resume_is_named(rig: list[str | Path], tmp_path: Path) -> None:
    assert "nothing to resume in" in error_of(edge(*rig, "--resume", tmp_path))
    message = error_of(edge(*rig, "--resume"))
    assert f"nothing to resume in {tmp_path / 'runs'}" in message
    assert "start with --task" in message
    assert "expected: --task or --resume" in error_of(edge(*rig))


def test_a_directory_that_holds_no_run_is_named(tmp_path: Path) -> None:
    for command in ("report", "replay"):
        assert "no run at" in error_of(edge(command, tmp_path))


def test_the_doctor_names_everything_that_is_wrong_in_one_go(rig: list[str | Path]) -> None:
    done = edge("doctor", *rig[1:3], "--port", "/dev/ttyNONE", "--front", "http://127.0.0.1:9/front")
    assert done.returncode == 2
    assert "ok     bundle" in done.stdout
    assert "ok     loop      6 joints, 1000 Hz on any core, bus 250 Hz" in done.stdout
    for words in ("port /dev/ttyNONE does not exist", "camera 'front' does not open", "no --wrist given"):
        assert words in done.stdout


def test_what_the_system_refuses_is_said_in_its_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(store: BundleStore) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/var/lib/edgearm/bundles")

    monkeypatch.setattr(BundleStore, "list", refuse)
    assert main(["bundle", "list"]) == 2
    assert capsys.readouterr().err == "error: /var/lib/edgearm/bundles: Permission denied\n"


def test_help_teaches() -> None:
    done = edge("run", "--help")
    assert done.returncode == 0
    for words in ("--port", "examples:", "swap the red cube and the green cube", "learning.sim serve"):
        assert words in done.stdout
