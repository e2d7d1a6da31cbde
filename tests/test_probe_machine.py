"""What `edge doctor` says about a computer, on trees of files as kernels and boards show them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge import probe_machine
from edge.probe_machine import Finding, examine_machine


class Computer:
    """Files of /proc and /sys, and what else a board has."""

    def __init__(self, root: Path) -> None:
        self.root, self.runs = root, root / "runs"
        self.has("proc/sys/kernel/osrelease", "6.1.0-rt")
        self.has("proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 6000000 kB\n")

    def has(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text + "\n")

    def found(self, cpu: int | None = None) -> dict[str, Finding]:
        return {finding.what: finding for finding in examine_machine(self.runs, cpu, self.root)}


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Computer:
    monkeypatch.setattr(probe_machine.shutil, "which", lambda _: None)
    return Computer(tmp_path)


def test_a_good_one(computer: Computer) -> None:
    computer.has("sys/kernel/realtime", "1")
    for cpu in range(4):
        computer.has(f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor", "performance")
    computer.has("sys/class/thermal/thermal_zone0/temp", "45500")
    computer.has("sys/devices/system/cpu/isolated", "2-3")
    found = computer.found(cpu=3)
    assert {finding.level for finding in found.values()} == {"ok"}
    assert "45 °C" in found["heat"].text or "46 °C" in found["heat"].text
    assert all(not finding.fix for finding in found.values())


def test_what_makes_a_loop_late_is_named_with_its_remedy(computer: Computer) -> None:
    computer.has("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance")
    computer.has("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave")
    computer.has("sys/class/thermal/thermal_zone0/temp", "45500")
    computer.has("sys/class/thermal/thermal_zone1/temp", "91000")
    computer.has("sys/devices/system/cpu/isolated", "")
    computer.has("proc/meminfo", "MemAvailable: 500000 kB")
    found = computer.found(cpu=1)
    notes = {what for what, finding in found.items() if finding.level == "note"}
    assert notes == {"kernel", "clocks", "heat", "core", "memory"}
    assert "powersave" in found["clocks"].text
    assert "91 °C" in found["heat"].text
    assert "isolcpus=1" in found["core"].fix
    assert all(found[what].fix for what in notes)


def test_a_directory_that_this_user_may_not_look_into_is_no_failure(computer: Computer) -> None:
    locked = computer.root / "locked"
    locked.mkdir(mode=0)
    user = os.geteuid()
    os.seteuid(65534 if user == 0 else user)  # root may look everywhere
    try:
        found = probe_machine._disk(locked / "runs")
    finally:
        os.seteuid(user)
    assert found.text.endswith(f"GB free for {locked}/runs")


@pytest.mark.parametrize(("free", "level"), [(5 << 30, "ok"), (500 << 20, "note"), (50 << 20, "wrong")])
def test_a_full_disk_is_told_before_a_run_loses_its_log(
    computer: Computer, monkeypatch: pytest.MonkeyPatch, free: int, level: str
) -> None:
    monkeypatch.setattr(probe_machine.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert computer.found()["disk"].level == level


@pytest.mark.parametrize(
    ("told", "level", "text"),
    [
        ("NV Power Mode: MAXN_SUPER\n2\n", "ok", "MAXN_SUPER"),
        ("NV Power Mode: 15W\n1\n", "note", "15W"),
        ("", "note", "does not tell"),
    ],
)
def test_the_power_mode_of_a_jetson(
    computer: Computer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: str, level: str, text: str
) -> None:
    command = tmp_path / "bin/nvpmodel"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\nprintf '{told}'\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=":")
    monkeypatch.setattr(probe_machine.shutil, "which", lambda _: str(command))
    power = computer.found()["power"]
    assert power.level == level
    assert text in power.text


def test_a_board_whose_software_does_not_use_its_gpu(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.planner.native.build_flags", lambda: ("NEON", False))
    assert computer.found()["llama.cpp"].level == "ok"
    computer.has("etc/nv_tegra_release", "# R36 (release), REVISION: 4.3")
    found = computer.found()
    assert found["llama.cpp"].level == "note"
    assert "GGML_CUDA" in found["llama.cpp"].fix
    if "no TensorRT" in found["inference"].text:
        assert found["inference"].level == "note"


def test_the_kernels_lists_of_cores() -> None:
    assert probe_machine._cores("2-3,5") == {2, 3, 5}
    assert probe_machine._cores("") == set()
    assert probe_machine._cores("nonsense") == set()
