"""How long the policy takes on one core, and how long a change before the camera takes to reach the servos' wire.

    python benchmarks/policy.py models/reference

Camera to wire: a camera on this machine shows a dark picture, then a bright one; a servo bus emulator notes when a
goal on the wire first differs. In between are the real camera client, the real policy, the control loop and the servo
driver. The policy is evaluated on every frame, and in place of its answer the arm is told to turn by 0.1 rad while it
is bright: the path is measured, not the decision. `edge run` adds its wait for the next re-plan (0 to 200 ms).
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edge import _core, manifest
from edge.arm import SO101
from edge.cameras import Camera
from edge.policy.policy import Policy
from edge.tabletop import API
from edge.types import Chunk, Frame, Observation
from firmware_bridge.emulators import BusProcess
from learning.sim.camera_server import CameraServer, Stream

STANDING = [2048, 1266, 2438, 3026, 2048, 2400]
FRAME_S = 0.04
PICTURES = [
    cv2.imencode(".jpg", np.full((192, 192, 3), shade, np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    for shade in (20, 220)
]


def inference_ms(policy: Policy, count: int) -> list[float]:
    """Durations of `infer`, pictures of 192 px and preprocessing included."""
    rng = np.random.default_rng(0)
    tokens, times = API.encode(API.parse('pick("red cube")')), []
    for _ in range(count):
        image = rng.integers(0, 256, (192, 192, 3), dtype=np.uint8)
        frames = {name: Frame(name, image, 0) for name in ("front", "wrist")}
        policy.infer(Observation(0, frames, np.zeros(6)), tokens, None)
        times.append(policy.last_ms)
    return times


class Flicker(threading.Thread):
    """Publishes a picture every 40 ms, dark or bright, and notes when it first showed the present one."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(daemon=True)
        self._stream, self._shade, self._asked = stream, 0, 0
        self.shown_at = 0.0

    def flip(self) -> None:
        """The other picture from the next frame on."""
        self._asked = 1 - self._asked

    def run(self) -> None:
        while True:
            changed, self._shade = self._asked != self._shade, self._asked
            if changed:
                self.shown_at = time.monotonic()
            self._stream.publish(PICTURES[self._shade])
            time.sleep(FRAME_S)


def camera_to_wire_ms(policy: Policy, count: int) -> list[float]:
    """Times from publishing a picture to the first goal on the wire that differs."""
    rng = np.random.default_rng(0)
    tokens = API.encode(API.parse('pick("red cube")'))
    times: list[float] = []
    with BusProcess(position=STANDING, holding=STANDING) as bus, CameraServer() as server:
        flicker = Flicker(server.streams["front"])
        flicker.start()
        loop = _core.ControlLoop(_core.Arm(SO101))
        driver = _core.Driver(loop, bus.port)
        with Camera("front", f"http://127.0.0.1:{server.server_address[1]}/front") as camera:
            driver.start()
            base, last = np.array(driver.snapshot()["measured"]), camera.latest()
            goal = int(bus.block.goal[0])
            due, waiting = time.monotonic() + 0.5, False
            while len(times) < count:
                if not waiting and time.monotonic() > due:
                    goal, waiting = int(bus.block.goal[0]), True
                    flicker.flip()
                frame = camera.after(last.time_ns)
                policy.infer(Observation(frame.time_ns, {"front": frame, "wrist": frame}, base), tokens, None)
                bright = frame.image.mean() > 128
                if bright != (last.image.mean() > 128):
                    target = base + np.array([0.1 * bright, 0, 0, 0, 0, 0])
                    offer = loop.offer(Chunk(frame.time_ns, 50_000_000, np.tile(target, (16, 1)), 0.0))
                    assert offer, offer.reason
                    while int(bus.block.goal[0]) == goal:
                        assert time.monotonic() < flicker.shown_at + 2.0, "the goal on the wire never changed"
                    times.append((time.monotonic() - flicker.shown_at) * 1e3)
                    waiting, due = False, time.monotonic() + rng.uniform(0.5, 0.6)
                last = frame
            driver.stop()
    return times


def row(name: str, times: list[float]) -> str:
    p50, p99 = np.percentile(times, [50, 99])
    return f"{name:<28} p50 {p50:7.2f}  p99 {p99:7.2f}  worst {max(times):7.2f} ms  (n = {len(times)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="?", default=Path("models/reference"))
    parser.add_argument("--count", type=int, default=200)
    arguments = parser.parse_args()
    bundle = manifest.load(arguments.bundle)
    bundle.verify()
    policy = Policy.load(bundle, API, threads=1)
    print(row("policy, one thread", inference_ms(policy, arguments.count)))
    print(row("camera to wire", camera_to_wire_ms(policy, arguments.count // 4)))


if __name__ == "__main__":
    main()
