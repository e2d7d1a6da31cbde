"""Everything a run needs, opened in the order in which a mistake costs least: the arm last of all.

Cameras and models outlive a task where several are done one after the other (`edge serve`); loop, driver and memory are
made anew for each.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge import manifest
from edge.api import RobotApi
from edge.arm import SO101, DamiaoDrive, load_description
from edge.cameras import Camera
from edge.config import RunConfig
from edge.earlier import JOURNAL, EarlierRun, take_over
from edge.errors import BundleError, ConfigError
from edge.native import check_native
from edge.policy.policy import CAMERAS, Policy
from edge.ports import check_port
from edge.store import BundleStore

if TYPE_CHECKING:
    from edge._core import Arm, ControlLoop, Driver, SubtaskMemory
    from edge.planner.planner import Planner


@dataclass(frozen=True)
class Models:
    """The loaded networks of a bundle."""

    bundle: manifest.Bundle
    policy: Policy
    planner: Planner | None

    def __enter__(self) -> Models:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.planner is not None:
                self.planner.close()
        finally:
            self.policy.close()


@dataclass(frozen=True)
class Machine:
    """The opened parts of a robot. The port is not touched before `driver.start()`; `close` gives all of it back."""

    bundle: manifest.Bundle
    policy: Policy
    planner: Planner | None
    cameras: Mapping[str, Camera]
    arm: Arm
    loop: ControlLoop
    driver: Driver
    memory: SubtaskMemory
    _stack: ExitStack

    def close(self) -> None:
        """Closes cameras and planner. The driver is stopped by the run that started it."""
        self._stack.close()

    def last_fault(self) -> dict[str, NDArray[Any]]:
        """The steps of the loop's last fault, empty if there was none.

        One array a field of `ControlLoop.fault_log`, first axis time, oldest first. `joints` names the columns;
        `states`, `hold_causes` and `fault_causes` say what the numbers of `state`, `hold_cause`, `fault_cause` mean.
        """
        from edge._core import FAULT_CAUSES, HOLD_CAUSES, STATES

        steps = self.loop.fault_log()
        if not len(steps):
            return {}
        names = {"joints": self.arm.names, "states": STATES, "hold_causes": HOLD_CAUSES, "fault_causes": FAULT_CAUSES}
        return {name: steps[name] for name in steps.dtype.names or ()} | {
            name: np.array(texts) for name, texts in names.items()
        }

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def described(config: RunConfig) -> Path:
    """The file that describes the arm."""
    return Path(config.arm) if config.arm else SO101


def wanted_cameras(config: RunConfig) -> tuple[str, ...]:
    """Names of the cameras that the bundle's policy and planner look through; the usual ones if it cannot be read."""
    store = config.service.store
    try:
        made = manifest.load(BundleStore(Path(store)).chosen() if store else config.bundle).manifest
    except BundleError:
        return CAMERAS  # what is wrong with it is said where it is opened
    names = [tensor.name for tensor in made.policy.inputs if tensor.dtype == "uint8"]
    if made.planner is not None and "front" not in names:
        names.insert(0, "front")
    return tuple(names)


def check_bundle(config: RunConfig, api: RobotApi) -> manifest.Bundle:
    """The configured bundle, if its files are as made and it fits this robot.

    Raises:
        BundleError: What does not fit.
    """
    store = config.service.store
    bundle = manifest.load(BundleStore(Path(store)).current() if store else config.bundle)
    bundle.verify()
    arm = load_description(described(config))
    bundle.check_fits(api_hash=api.hash, robot=arm.name, joints=tuple(joint.name for joint in arm.joints))
    return bundle


def open_arm(config: RunConfig) -> tuple[Arm, ControlLoop, Driver]:
    """The arm's description, its loop and its driver, checked against each other; nothing is opened.

    Raises:
        ConfigError: The native core does not load, or numbers that the loop or the link cannot do.
        ArmError: The description is not usable.
    """
    check_native()
    from edge import _core

    arm = _core.Arm(described(config), config.calibration or None)
    loop = _core.ControlLoop(
        arm,
        _core.LoopConfig(
            period_ns=round(1e9 / config.loop.rate_hz),
            feedback_timeout_ns=config.loop.feedback_timeout_ns,
            watchdog_ns=round(config.loop.watchdog_ms * 1e6),
        ),
    )
    driver = _core.Driver(
        loop,
        config.port,
        bus_period_ns=round(1e9 / config.loop.bus_hz),
        priority=config.loop.priority,
        cpu=config.loop.cpu,
        lock_memory=config.loop.lock_memory,
        keep_torque=config.loop.keep_torque,
    )
    return arm, loop, driver


def check_cameras(config: RunConfig) -> None:
    """Checks that every camera that the bundle wants has an address; opens none.

    Raises:
        ConfigError: One is not named.
    """
    for name in wanted_cameras(config):
        if not config.cameras.address(name):
            fix = "`edge run --help` has examples; `edge doctor` tells what works"
            option = f"--{name}" if name in CAMERAS else f"--camera {name}=…"
            raise ConfigError(
                f"{option} is not given", expected="V4L2 index, device path or URL", got="nothing", fix=fix
            )


@contextmanager
def open_cameras(config: RunConfig) -> Iterator[Mapping[str, Camera]]:
    """The cameras, each with a first frame; closed at the end.

    Raises:
        ConfigError: One is not named.
        CameraError: One does not open.
    """
    check_cameras(config)
    with ExitStack() as stack:
        stale_s = config.cameras.stale_ms / 1e3
        yield {
            name: stack.enter_context(Camera(name, config.cameras.address(name), stale_s=stale_s))
            for name in wanted_cameras(config)
        }


def open_models(config: RunConfig, api: RobotApi, bundle: manifest.Bundle) -> Models:
    """The networks of a bundle that `check_bundle` passed, each run once.

    Raises:
        BundleError: It has no planner, and its policy waits for calls.
        PolicyError, PlannerError: A network does not load.
    """
    parts = bundle.manifest.planner
    if parts is None and any(tensor.name == "call" for tensor in bundle.manifest.policy.inputs):
        fix = "export it again with `python -m export bundle --planner DIR …`"
        got = "a policy alone, and one that waits for calls"
        raise BundleError(f"{bundle.path} has no planner", expected="planner and policy", got=got, fix=fix)
    with ExitStack() as stack:
        policy = Policy.load(bundle, api, threads=config.policy.threads, backend=config.policy.backend)
        stack.callback(policy.close)
        planner = None
        if parts is not None:
            from edge.planner.native import gpu_wanted
            from edge.planner.planner import Budget, Planner

            planner = Planner(
                api,
                bundle.file(parts.model),
                bundle.file(parts.projector),
                image_size=bundle.manifest.images.planner,
                threads=config.planner.threads,
                gpu=gpu_wanted(config.planner.gpu),
                budget=Budget(milliseconds=config.budgets.plan_s * 1e3),
            )
        stack.pop_all()
    return Models(bundle, policy, planner)


def check_arm(config: RunConfig) -> None:
    """Checks port, description and numbers; opens nothing.

    Raises:
        LinkError: There is no such port, or it is in use.
        ConfigError, ArmError: See `open_arm`.
    """
    _check_port(config)
    open_arm(config)


def assemble(
    config: RunConfig,
    models: Models,
    cameras: Mapping[str, Camera],
    directory: Path,
    resume: EarlierRun | None = None,
) -> Machine:
    """The machine of one task from what outlives it, which stays the caller's to close.

    Args:
        config: The run's configuration.
        models: The loaded networks.
        cameras: The open cameras.
        directory: The run directory; the memory's journal goes there.
        resume: An earlier run whose memory is taken over; its own journal stays as it is.

    Raises:
        EdgeError: As `check_arm`; or the journal cannot be written.
    """
    _check_port(config)
    arm, loop, driver = open_arm(config)
    from edge._core import SubtaskMemory

    if resume is not None:
        take_over(resume, directory)
    memory = SubtaskMemory(str(directory / JOURNAL))
    models.policy.begin()
    return Machine(models.bundle, models.policy, models.planner, cameras, arm, loop, driver, memory, ExitStack())


def open_machine(config: RunConfig, api: RobotApi, directory: Path, resume: EarlierRun | None = None) -> Machine:
    """Opens bundle, policy, planner, cameras and port; arguments as of `assemble`.

    Raises:
        EdgeError: What does not open, and the remedy. Whatever was open is closed again.
    """
    check_cameras(config)
    check_arm(config)
    bundle = check_bundle(config, api)
    with ExitStack() as stack:
        cameras = stack.enter_context(open_cameras(config))
        models = stack.enter_context(open_models(config, api, bundle))
        machine = assemble(config, models, cameras, directory, resume)
        return replace(machine, _stack=stack.pop_all())


def share_memory() -> None:
    """For a process that does one task after the other, before it opens anything: its threads share what malloc keeps.

    Each task has new threads. Left alone they open a pool each, a few MB now and then for hours.
    """
    from edge._core import share_memory_pools

    share_memory_pools()


def return_memory() -> None:
    """Between tasks nothing is locked, and memory that nobody uses goes back to the system.

    Months of runs, each with other sizes of everything: what one leaves in pieces the next finds no use for.
    """
    from edge._core import release_memory

    gc.collect()
    release_memory()


def _check_port(config: RunConfig) -> None:
    check_port(config.port, can=isinstance(load_description(described(config)).drive, DamiaoDrive))
