"""The configuration of a run: a TOML file, overridden by command-line flags. Unknown keys are errors."""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.errors import ConfigError
from edge.records import read
from edge.types import BACKENDS, GPU

INSTALLED = Path("/etc/edgearm/config.toml")
"""The service's, where `deploy/install.sh` puts it."""


@dataclass(frozen=True)
class Cameras:
    """Where the images come from: a V4L2 index or path (`0`, `/dev/video2`) or a URL.

    `named` has those of policies whose cameras have names of their own. Frames older than `stale_ms` are refused: the
    arm holds, and after `gone_s` the task is given up.
    """

    front: str = ""
    wrist: str = ""
    named: dict[str, str] = field(default_factory=dict)
    stale_ms: float = 300.0
    gone_s: float = 10.0

    def address(self, name: str) -> str:
        """Where a camera's images come from, empty where nothing says it."""
        return {"front": self.front, "wrist": self.wrist}.get(name, "") or self.named.get(name, "")


@dataclass(frozen=True)
class Budgets:
    """How long and how often the robot may try. A budget that runs out ends the subtask or the task with the reason.

    Attributes:
        call_s: Seconds one call may take before it ends as `timeout`.
        calls: Calls in one task, counting every retry.
        retries: Failed calls in a row before the task is given up.
        plan_s: Seconds the planner may take for one call.
        plan_attempts: Times the planner is asked again after it wrote no usable call.
        task_s: Seconds a policy without a planner may take for a task.
    """

    call_s: float = 12.0
    calls: int = 24
    retries: int = 4
    plan_s: float = 10.0
    plan_attempts: int = 1
    task_s: float = 60.0


@dataclass(frozen=True)
class Loop:
    """The real-time loop and the bus of the motors, in cycles a second; `priority` of SCHED_FIFO where it is granted.

    Without an answer of every motor for three bus cycles (12 ms at least) the arm holds, and after `watchdog_ms` (12
    to 2000) it faults for good. `cpu` is the one core that the loop's thread keeps to, any by default. `keep_torque`
    leaves the motors on after the run: the arm keeps its pose and what it holds.
    """

    rate_hz: float = 1000.0
    bus_hz: float = 250.0
    watchdog_ms: float = 200.0
    priority: int = 80
    cpu: int | None = None
    lock_memory: bool = True
    keep_torque: bool = False

    def check(self) -> None:
        """Raises ConfigError for what no loop can do. What the link can carry is the driver's to say."""
        cores = os.cpu_count() or 1
        for name, value, least, most in (
            ("rate_hz", self.rate_hz, 100, 10_000),
            ("bus_hz", self.bus_hz, 10, 10_000),
            ("watchdog_ms", self.watchdog_ms, 12, 2000),
            ("priority", self.priority, 1, 99),
            ("cpu", self.cpu or 0, 0, cores - 1),
        ):
            if not least <= value <= most:  # also refuses NaN
                raise ConfigError(f"loop.{name} cannot be used", expected=f"{least} to {most}", got=str(value))
        if self.watchdog_ms * 1e6 < self.feedback_timeout_ns:
            raise ConfigError(
                f"loop.watchdog_ms and loop.bus_hz contradict each other: {self.bus_hz:g} bus cycles a second",
                expected=f"watchdog_ms of at least three bus cycles, {self.feedback_timeout_ns / 1e6:g}",
                got=f"{self.watchdog_ms:g}",
                fix="raise loop.watchdog_ms or loop.bus_hz",
            )

    @property
    def feedback_timeout_ns(self) -> int:
        """How old feedback may be before the arm holds: three bus cycles, as patient as at 250 Hz at least."""
        return max(12_000_000, round(3e9 / self.bus_hz))


@dataclass(frozen=True)
class Policy:
    """`threads` of the inference backend; targets until the next chunk is computed, 0 for what the bundle says.

    `backend` is `auto` (a TensorRT engine built for this device, else ONNX Runtime on the processor), `tensorrt`,
    `onnx` or `onnx-cuda`.
    """

    replan_every: int = 0
    threads: int = 1
    backend: str = "auto"


@dataclass(frozen=True)
class Planner:
    """`threads` of llama.cpp, and whether it uses the GPU: `auto` where it was built with one, `on`, `off`."""

    threads: int = 1
    gpu: str = "auto"


@dataclass(frozen=True)
class Service:
    """Where `edge serve` takes commands, and where bundles are.

    `store` is a directory that `edge bundle` keeps: the bundle in use there runs, and `bundle` is not looked at. Empty:
    `bundle` runs. Of run directories the oldest are removed between tasks, so that all together take up
    `keep_runs_mb` at most and leave 500 MB of the disk free; 0 keeps all.
    """

    socket: str = "/run/edgearm/control.sock"
    store: str = ""
    keep_runs_mb: float = 4000.0


@dataclass(frozen=True)
class RunConfig:
    """Everything `edge run` can be told. Relative paths in a file are relative to that file.

    `arm` is an arm description, the SO-101's if empty. `port` is its serial port; of an arm on CAN, an adapter that
    speaks slcan or the name of a kernel's interface.
    """

    bundle: str = "models/reference"
    arm: str = ""
    port: str = ""
    calibration: str = ""
    runs: str = "runs"
    cameras: Cameras = Cameras()
    budgets: Budgets = Budgets()
    loop: Loop = Loop()
    policy: Policy = Policy()
    planner: Planner = Planner()
    service: Service = Service()

    def __post_init__(self) -> None:
        positive = {
            "cameras.stale_ms": self.cameras.stale_ms,
            "cameras.gone_s": self.cameras.gone_s,
            "budgets.call_s": self.budgets.call_s,
            "budgets.calls": self.budgets.calls,
            "budgets.plan_s": self.budgets.plan_s,
            "budgets.task_s": self.budgets.task_s,
            "policy.threads": self.policy.threads,
            "planner.threads": self.planner.threads,
        }
        for name, value in positive.items():
            if not value > 0:  # also refuses NaN
                raise ConfigError(f"{name} cannot be used", expected="a number above 0", got=str(value))
        if self.policy.backend not in BACKENDS:
            got = repr(self.policy.backend)
            raise ConfigError("policy.backend cannot be used", expected=", ".join(BACKENDS), got=got)
        if self.planner.gpu not in GPU:
            raise ConfigError("planner.gpu cannot be used", expected=", ".join(GPU), got=repr(self.planner.gpu))
        self.loop.check()
        if not 0 <= self.service.keep_runs_mb < float("inf"):
            got = str(self.service.keep_runs_mb)
            raise ConfigError("service.keep_runs_mb cannot be used", expected="0 (keep all) or more", got=got)
        for name, count in (
            ("budgets.retries", self.budgets.retries),
            ("policy.replan_every", self.policy.replan_every),
            ("budgets.plan_attempts", self.budgets.plan_attempts),
        ):
            if count < 0:
                raise ConfigError(f"{name} cannot be used", expected="0 or more", got=str(count))


def load(path: Path | str | None = None, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Reads a configuration file, if any, and lays the overrides over it.

    Args:
        path: A TOML file with the keys of `RunConfig`; tables for the nested ones.
        overrides: Values by dotted name, e.g. `{"cameras.front": "0"}`; None means "not given".

    Raises:
        ConfigError: No such file, not TOML, an unknown key (the nearest is named), a wrong type or range.
    """
    data: dict[str, Any] = {}
    where = "the command line"
    if path is not None:
        path = Path(path)
        where = str(path)
        data = _parse(path)
        for key in ("bundle", "arm", "runs", "calibration"):
            if isinstance(data.get(key), str) and data[key]:
                data[key] = str(path.parent / data[key])
    # Read the file before the flags are laid over it: a mistake in it is reported even where a flag would hide it.
    read(RunConfig, data, where, ConfigError)
    for name, value in (overrides or {}).items():
        if value is not None:
            *tables, key = name.split(".")
            table = data
            for part in tables:
                table = table.setdefault(part, {})
            table[key] = value
    return read(RunConfig, data, where, ConfigError)


def to_mapping(config: RunConfig) -> dict[str, Any]:
    """The configuration as plain values, for the log."""
    return dataclasses.asdict(config)


def _parse(path: Path) -> dict[str, Any]:
    tomllib: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return data
    except OSError as problem:
        raise ConfigError(
            f"cannot read {path}", got=str(problem.strerror), fix="pass --config FILE.toml that exists"
        ) from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path} is not TOML", got=str(problem), fix="`edge run --help` has an example") from problem
