"""`edge doctor`: is everything there that a run needs? Looks, never moves, and says what to do about the rest."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Mapping
from pathlib import Path

from edge import find_arms, probe, probe_bridge, probe_motors, probe_service, set_up_servos
from edge.api import RobotApi
from edge.arm import SO101_BRIDGE, ArmDescription, BridgeDrive, DamiaoDrive, FeetechDrive, load_description
from edge.calibration import load_calibration
from edge.cameras import Camera
from edge.config import Loop, RunConfig
from edge.errors import ArmError, CameraError, ConfigError, EdgeError
from edge.machine import check_bundle, described, open_arm, wanted_cameras
from edge.policy.policy import CAMERAS, Policy
from edge.ports import check_port
from edge.probe_machine import examine_machine

_AWAKE = 'KERNEL=="cpu_dma_latency", GROUP="realtime", MODE="0660"'


def examine(config: RunConfig, api: RobotApi) -> int:
    """Runs every check and prints one line for each.

    Returns:
        0 if all that was asked for is there, 2 otherwise. Missing real-time rights are reported, not failed.
    """
    notes: list[str] = []
    service = probe_service.look(Path(config.service.socket))
    checks: list[tuple[str, Callable[[], str]]] = [
        ("bundle", lambda: _bundle(config, api, notes)),
        ("loop", lambda: _loop(config)),
        *((name, lambda name=name: _camera(name, config, service.camera_age_ms)) for name in wanted_cameras(config)),
    ]
    wrong = {name for name, check in checks if not _passes(name, check)}
    if service.acting:
        notes.append("the service is at work with the arm: ask again between tasks")
    elif not _passes("port", lambda: _port(config)):
        wrong.add("port")
        notes += [] if config.port else _elsewhere(config)
    elif not _passes("arm", lambda: _motors(config, notes)):
        wrong.add("arm")
    for note in notes:
        print(f"note   {note}")
    for line in _rights(config.loop):
        print(line)
    found = [service.finding] if service.finding is not None else []
    for finding in (*found, *examine_machine(Path(config.runs), config.loop.cpu)):
        print(finding)
        wrong |= {finding.what} if finding.level == "wrong" else set()
    return 2 if wrong else 0


def set_up(config: RunConfig, *, id: int | None, lock: bool) -> int:
    """Writes to servos what a person asked for, and says what before it does.

    Args:
        config: Port and arm.
        id: Of the only servo on the bus from now on; None to leave ids alone.
        lock: Lock what the arm's servos have stored.

    Returns:
        0; what does not work is raised.

    Raises:
        EdgeError: The port, an arm without such servos, or a servo that did not do it.
    """
    from edge._core import ServoBus

    arm = load_description(described(config))
    _feetech(arm)
    _port(config)
    bus = ServoBus(config.port)
    if id is not None:
        set_up_servos.set_id(bus, id, print)
    if lock:
        set_up_servos.lock(bus, arm, print)
    return 0


def _feetech(arm: ArmDescription) -> FeetechDrive:
    if not isinstance(arm.drive, FeetechDrive):
        fix = "use the maker's tool"
        raise ArmError(f"a {arm.name} has nothing to set up", expected="Feetech servos", got="other motors", fix=fix)
    return arm.drive


def _elsewhere(config: RunConfig) -> list[str]:
    """What is behind the ports of this machine, where that can be asked."""
    try:
        arm = load_description(described(config))
        drive = _feetech(arm)
    except EdgeError:
        return []
    from edge._core import ServoBus

    return find_arms.look_behind(arm, drive, ServoBus)


def _passes(name: str, check: Callable[[], str]) -> bool:
    try:
        print(f"ok     {name:<9} " + check().replace("\n", "\n                 "))
    except EdgeError as problem:
        print(f"wrong  {name:<9} " + str(problem).replace("\n", "\n                 "))
        return False
    return True


def _bundle(config: RunConfig, api: RobotApi, notes: list[str]) -> str:
    bundle = check_bundle(config, api)
    policy = Policy.load(bundle, api, threads=config.policy.threads, backend=config.policy.backend)
    policy.close()
    if policy.backend_note:
        notes.append(policy.backend_note)
    planner = "planner" if bundle.manifest.planner else "no planner"
    return f"{bundle.path}: {len(bundle.manifest.files)} files, {planner}, policy on {policy.backend_name}"


def _loop(config: RunConfig) -> str:
    arm, _, _ = open_arm(config)
    core = "any core" if config.loop.cpu is None else f"core {config.loop.cpu}"
    if config.loop.cpu is not None:
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {config.loop.cpu})  # an isolated core is not among those one may use unasked
        except OSError as problem:
            fix = "choose another loop.cpu, or open this one to the process (cpuset, taskset)"
            raise ConfigError(f"{core} cannot be used for the loop", got=str(problem.strerror), fix=fix) from problem
        os.sched_setaffinity(0, before)
    return f"{len(arm.names)} joints, {config.loop.rate_hz:g} Hz on {core}, bus {config.loop.bus_hz:g} Hz"


def _port(config: RunConfig) -> str:
    check_port(config.port, can=isinstance(load_description(described(config)).drive, DamiaoDrive))
    return config.port


def _motors(config: RunConfig, notes: list[str]) -> str:
    arm = load_description(described(config))
    if isinstance(arm.drive, FeetechDrive):
        return _servos(config, arm, arm.drive, notes)
    if isinstance(arm.drive, BridgeDrive):
        return _controller(config, arm, arm.drive, notes)
    from edge._core import MotorBus, describe_motor_status

    states = probe_motors.look_at_all(MotorBus(config.port), arm, arm.drive)
    notes += probe_motors.findings(arm, arm.drive, states, describe_motor_status)
    return probe_motors.summary(states)


def _controller(config: RunConfig, arm: ArmDescription, drive: BridgeDrive, notes: list[str]) -> str:
    from edge._core import BRIDGE_PROTOCOL, Arm, ControllerPort

    wanted = Arm(described(config), config.calibration or None).bridge_config
    assert wanted is not None
    report = probe_bridge.look(ControllerPort(config.port))
    probe_bridge.check(arm, drive, report, BRIDGE_PROTOCOL, wanted)
    notes += probe_bridge.findings(arm, report)
    return probe_bridge.summary(report)


def _servos(config: RunConfig, arm: ArmDescription, drive: FeetechDrive, notes: list[str]) -> str:
    from edge._core import ControllerPort, ServoBus, describe_servo_error

    calibration = load_calibration(config.calibration, arm) if config.calibration else None
    bus = ServoBus(config.port)
    asked = [(joint, probe.look(bus, joint.servo_id)) for joint in arm.joints]
    others = probe.strangers(bus, (joint.servo_id for joint in arm.joints))
    notes += [f"servo {id} answers too and is not of a {arm.name}" for id in others]
    expected = f"{len(arm.joints)} servos of model {drive.model_number} at 1 Mbps"
    silent = ", ".join(f"{joint.servo_id} ({joint.name})" for joint, state in asked if state is None)
    if silent:
        found = [state.id for _, state in asked if state is not None] + others
        corrupt = bus.corrupt
        del bus
        if not found and probe_bridge.speaks_bridge(ControllerPort(config.port)):
            fix = f"a microcontroller answers there: describe its arm, --arm {SO101_BRIDGE}"
        else:
            rates = _at_other_rates(config.port, arm) if not found else {}
            silent_ids = [joint.servo_id for joint, state in asked if state is None]
            fix = find_arms.why_silent(silent_ids, found, corrupt, rates)
        raise ArmError("servos do not answer", expected=expected, got=f"silence from {silent}", fix=fix)
    states = [state for _, state in asked if state is not None]
    other = ", ".join(f"{state.id} is model {state.model}" for state in states if state.model != drive.model_number)
    if other:
        raise ArmError(f"the arm is not a {arm.name}", expected=expected, got=other, fix="name the port of that arm")
    notes += probe.findings(arm, states, calibration, describe_servo_error)
    return "\n".join([probe.summary(states), *probe.rows(arm, states)])


def _at_other_rates(port: str, arm: ArmDescription) -> dict[int, list[int]]:
    """Which servos of the arm answer at rates that are not theirs."""
    from edge._core import ServoBus

    ids = [joint.servo_id for joint in arm.joints]
    return {baud: find_arms.answering(ServoBus(port, baud), ids) for baud in find_arms.OTHER_BAUDS}


def _camera(name: str, config: RunConfig, held_ms: Mapping[str, float]) -> str:
    """Opens a camera, or believes the service that holds it: `held_ms` is how old its newest frames are."""
    address = config.cameras.address(name)
    if not address:
        option = f"--{name}" if name in CAMERAS else f"--camera {name}=…"
        raise ConfigError(f"no {option} given", expected="V4L2 index, device path or URL", got="nothing")
    try:
        with Camera(name, address) as camera:
            height, width = camera.latest().image.shape[:2]
            return f"{address}: {width}×{height}"
    except CameraError:
        if held_ms.get(name, float("inf")) > config.cameras.stale_ms:
            raise
        return f"{address}: the service has it, and a frame {held_ms[name]:.0f} ms old"
    except OSError as problem:
        raise CameraError(f"camera {name} at {address} does not open", got=str(problem)) from problem


def _rights(loop: Loop) -> list[str]:
    """Whether the control loop may run in real time, and what to grant."""
    soft = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    root = os.geteuid() == 0
    priority = root or soft >= loop.priority or soft == resource.RLIM_INFINITY
    memory = root or locked == resource.RLIM_INFINITY
    latency = os.access("/dev/cpu_dma_latency", os.W_OK)
    rows = (
        (priority, "real-time priority", f"add `@realtime - rtprio {loop.priority}` to /etc/security/limits.conf"),
        (memory, "locked memory", "add `@realtime - memlock unlimited` to /etc/security/limits.conf"),
        (latency, "/dev/cpu_dma_latency", f"add the udev rule `{_AWAKE}`, or cores sleep too deep"),
    )
    return [f"ok     {what}" if granted else f"note   {what} is missing: {fix}" for granted, what, fix in rows]
