"""The emulated machine is one: its servos answer on a port, they move the arm its cameras see, and it tidies up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import serial

from edge._core import Arm, ControlLoop, Driver, LoopConfig
from edge.api import Outcome
from edge.arm import SO101
from edge.cameras import Camera
from edge.tabletop import API
from edge.types import Chunk
from firmware_bridge._feetech import Parser, encode_sync_read, encode_sync_write
from firmware_bridge.emulators import ServoBlock
from learning.sim.device import DeviceSpec, SimDevice
from learning.sim.hands import OracleHands
from learning.sim.plant import Plant, to_ticks
from learning.sim.scene import Item, Scene
from learning.sim.serve import Witness
from learning.sim.world import READY, World
from learning.tasks import find, next_call, sample

ROOT = Path(__file__).resolve().parents[1]
IDS = range(1, 7)


def _spec(kind: str = "put", seed: int = 7) -> DeviceSpec:
    return DeviceSpec(*sample(kind, np.random.default_rng(seed)))


def _moved(item: Item, to: Item) -> Item:
    return replace(item, x=to.x, y=to.y)


@pytest.fixture(scope="module")
def device() -> Iterator[SimDevice]:
    with SimDevice(_spec()) as running:
        yield running


def _pass(device: SimDevice, seconds: float) -> None:
    """Waits until the machine's own clock has advanced: its physics falls behind the wall's on a busy computer."""
    end = device.state()["time_s"] + seconds
    while device.state()["time_s"] < end:
        time.sleep(0.005)


def _positions(port: serial.Serial) -> list[int]:
    port.write(encode_sync_read(56, 2, IDS))
    return [int.from_bytes(frame.params, "little") for frame in Parser().feed(port.read(6 * 8))]


def _move(device: SimDevice, port: serial.Serial, goal: list[int], seconds: float) -> list[int]:
    """Goes there in a straight line of joints, as a control loop would, and returns where it ended."""
    start = np.array(_positions(port))
    steps = round(seconds / 0.02)
    for step in range(1, steps + 1):
        words = np.rint(start + (np.array(goal) - start) * step / steps).astype(int).tolist()
        port.write(encode_sync_write(42, 2, {i: w.to_bytes(2, "little") for i, w in zip(IDS, words, strict=True)}))
        _pass(device, 0.02)
    _pass(device, 0.3)
    return _positions(port)


def test_it_starts_holding_the_ready_pose(device: SimDevice) -> None:
    np.testing.assert_allclose(device.state()["joints"], READY, atol=0.01)
    with serial.Serial(device.port, 1_000_000, timeout=2.0) as port:
        world = World()
        np.testing.assert_allclose(_positions(port), to_ticks(world.to_radians(READY)), atol=6)


def test_goals_on_the_bus_move_the_arm_and_positions_tell_where_it_is(device: SimDevice) -> None:
    with serial.Serial(device.port, 1_000_000, timeout=2.0) as port:
        home = _positions(port)
        reached = _move(device, port, [home[0] + 300, *home[1:]], 1.0)
        assert abs(reached[0] - home[0] - 300) < 20
        radians = (reached[0] - 2048) * 2 * np.pi / 4096
        assert abs(device.state()["joints"][0] - radians) < 0.01
        back = _move(device, port, home, 1.0)
        assert np.abs(np.array(back) - home).max() < 60  # gravity: a goal is held with an offset


def _oracle_targets(spec: DeviceSpec) -> np.ndarray:
    """(n, 6) joint targets of the scripted oracle for a task, found in lock-step."""
    world = World()
    world.reset(spec.scene)
    hands, targets, transcript = OracleHands(world), [], []
    assert spec.task is not None
    while (call := next_call(spec.task, spec.scene.items, transcript)).subtask != "done":
        for target in API.run(call, hands):
            world.step(target)
            targets.append(target)
        transcript.append((call, Outcome.OK))
    return np.array(targets)


def _at_half_speed(targets: np.ndarray) -> np.ndarray:
    between = (targets + np.roll(targets, -1, axis=0)) / 2
    return np.stack([targets, between], 1).reshape(-1, 6)[:-1]


def test_the_driver_does_the_oracles_motion_in_real_time_and_the_judge_agrees() -> None:
    """Nothing is shared but the port: the plan comes from a lock-step twin of the scene. It is played at half speed:
    nobody looks where the arm is, and at full speed the loop's acceleration limit cuts corners."""
    spec = _spec("put", 7)
    targets = _at_half_speed(_oracle_targets(spec))
    period_ns, horizon, step = 50_000_000, 8, 4
    with SimDevice(spec) as device:
        patient = LoopConfig(feedback_timeout_ns=400_000_000, watchdog_ns=20_000_000_000, stall_ns=5_000_000_000)
        loop = ControlLoop(Arm(SO101), patient)
        driver = Driver(loop, device.port)
        driver.start()
        for k in range(0, len(targets), step):
            # Waits at the next chunk's first target: the loop keeps the wall's clock, the physics may fall behind it.
            ahead = targets[np.minimum(np.arange(k, k + horizon), min(k + step, len(targets) - 1))]
            offer = loop.offer(Chunk(time.monotonic_ns(), period_ns, ahead, 0.0))
            assert offer, offer.reason
            _pass(device, step * period_ns * 1e-9)
        _pass(device, 1.0)
        assert device.judge() is True
        driver.stop()
        assert driver.snapshot()["bus"]["corrupt"] == 0


def test_its_cameras_show_what_the_lock_step_world_shows(device: SimDevice) -> None:
    world = World()
    world.reset(device.spec.scene)
    try:
        for name, address in device.cameras.items():
            with Camera(name, address) as camera:
                seen = camera.after(time.monotonic_ns(), timeout_s=60.0).image.astype(float)
            expected = world.render(name).astype(float)
            assert seen.shape == expected.shape == (192, 192, 3)
            assert np.abs(seen - expected).mean() < 6  # JPEG, and the arm's sag; another scene is beyond 20
    finally:
        world.close()


def test_the_objects_are_where_the_scene_puts_them(device: SimDevice) -> None:
    items = {item["name"]: item for item in device.state()["items"]}
    assert set(items) == {item.name for item in device.spec.scene.items}
    for item in device.spec.scene.items:
        assert np.hypot(items[item.name]["x"] - item.x, items[item.name]["y"] - item.y) < 0.004
    assert device.judge() is False  # nobody has done anything yet


def test_physics_keeps_up_with_the_clock(device: SimDevice) -> None:
    """What it did not simulate it reports as slipped."""
    before = time.monotonic()
    first, began = device.state(), time.monotonic()
    time.sleep(1.0)
    ending = time.monotonic()
    second, after = device.state(), time.monotonic()
    advanced = second["time_s"] - first["time_s"] + second["slipped_s"] - first["slipped_s"]
    assert ending - began - 0.2 <= advanced <= after - before + 0.2  # when in a request the machine looked is its own


def _with_the_cube_on_the_plate(spec: DeviceSpec) -> Scene:
    assert spec.task is not None
    cube, plate = spec.task.objects
    on = spec.scene.item(plate)
    items = tuple(replace(i, x=on.x, y=on.y, z=0.008) if i.name == cube else i for i in spec.scene.items)
    return replace(spec.scene, items=items)


def test_the_judge_sees_a_task_that_is_done() -> None:
    """The scene begins with the cube on its plate: it is done without a motion."""
    spec = _spec("put")
    world = World()
    world.reset(_with_the_cube_on_the_plate(spec))
    assert Witness(world, spec).answer("judge") == {"done": True, "held": None}
    assert Witness(world, DeviceSpec(world.scene)).answer("judge") == {"done": None, "held": None}


def test_the_judge_remembers_what_happened_between() -> None:
    """'restore' asks for a cube to have been on the plate, though at the end it is back where it was."""
    spec = _spec("restore")
    world = World()
    world.reset(spec.scene)
    witness = Witness(world, spec)
    assert witness.answer("judge")["done"] is False
    for scene in (_with_the_cube_on_the_plate(spec), spec.scene):
        world.reset(scene)
        witness.look()
    assert witness.answer("judge")["done"] is True


def test_the_judge_of_a_table_set_anew_begins_where_things_are_now() -> None:
    """'swap' asks where things were when it began, which is not where the task before it has left them."""
    spec, world = _spec("swap"), World()
    assert spec.task is not None
    world.reset(spec.scene)
    witness = Witness(world, spec)
    first, second = spec.task.objects
    anew = tuple(replace(item, y=-item.y) for item in world.scene.items)
    witness.answer("task " + json.dumps({"task": asdict(spec.task), "items": [asdict(item) for item in anew]}))
    seen = [(item.name, item.x, item.y) for item in world.items()]
    assert seen == [(item.name, pytest.approx(item.x), pytest.approx(item.y)) for item in anew]
    assert witness.answer("judge")["done"] is False
    places = {first: second, second: first}
    world.rearrange(tuple(_moved(item, find(anew, places.get(item.name, item.name))) for item in anew))
    assert witness.answer("judge") == {"done": True, "held": None}


def test_other_objects_than_the_scenes_are_refused() -> None:
    world = World()
    world.reset(_spec().scene)
    with pytest.raises(ValueError, match="other objects"):
        world.rearrange(world.scene.items[:-1])


def test_an_unknown_request_is_told_so() -> None:
    world = World()
    world.reset(_spec().scene)
    assert "one of state, judge, task, quit" in Witness(world, _spec()).answer("dance")["error"]


def test_a_spec_survives_the_process_boundary() -> None:
    spec = _spec("swap", 3)
    assert DeviceSpec.from_json(spec.to_json()) == spec
    assert "\n" not in spec.to_json()


def test_servos_without_torque_let_the_arm_fall() -> None:
    world = World()
    world.reset(_spec().scene)
    block = ServoBlock.local(IDS)
    block.goal[:], block.torque[:] = to_ticks(world.data.ctrl), 1
    block.torque_limit[:] = 1000
    plant = Plant(world, block)
    held = world.pinch().z
    for _ in range(250):
        plant.step()
    assert world.pinch().z == pytest.approx(held, abs=0.003)
    block.torque[:] = 0
    for _ in range(250):
        plant.step()
    assert world.pinch().z < held - 0.02
    fallen = world.pinch().z
    block.goal[:], block.torque[:] = block.position, 1  # caught where it is, as a client does
    for _ in range(250):
        plant.step()
    assert world.pinch().z == pytest.approx(fallen, abs=0.02)


def test_goal_velocity_and_torque_limit_are_honoured() -> None:
    world = World()
    world.reset(_spec().scene)
    block = ServoBlock.local(IDS)
    block.goal[:], block.torque[:] = to_ticks(world.data.ctrl), 1
    block.torque_limit[:] = 1000
    plant = Plant(world, block)
    start = int(block.position[0])
    block.goal_velocity[0] = 200
    block.goal[0] = start + 1000
    for _ in range(250):
        plant.step()
    assert 100 < block.position[0] - start < 220  # one second at 200 ticks/s, less the lag
    block.torque_limit[1:3] = 50
    for _ in range(250):
        plant.step()
    assert np.abs(block.load[1:3]).max() <= 50


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(entry.name))
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("end", ["close", "quit", "SIGTERM", "SIGKILL"])
def test_it_leaves_no_process_behind(end: str) -> None:
    command = [sys.executable, "-m", "learning.sim", "serve", "--seed", "1", "--kind", "stack"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert set(ready) == {"port", "cameras", "task"}
    children = _children(process.pid)
    assert len(children) == 2
    if end == "quit":
        process.stdin.write("quit\n")
        process.stdin.flush()
    elif end == "close":
        process.stdin.close()
    else:
        process.send_signal(signal.Signals[end])
    assert process.wait(120) == (-signal.SIGKILL if end == "SIGKILL" else 0)
    deadline = time.monotonic() + 120
    while any(map(_alive, children)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(_alive, children))
    assert not os.path.exists(ready["port"])
    process.stdout.close()


@pytest.mark.parametrize("victim", ["emulators.server", "camera_server"])
def test_it_ends_when_a_part_of_it_dies(victim: str) -> None:
    command = [sys.executable, "-m", "learning.sim", "serve"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        assert process.stdout is not None
        process.stdout.readline()
        children = _children(process.pid)
        os.kill(next(p for p in children if victim in Path(f"/proc/{p}/cmdline").read_text()), signal.SIGKILL)
        assert process.stderr is not None
        assert process.wait(120) == 1
        assert "died" in process.stderr.read()
        assert not any(map(_alive, children))
