"""The process of the emulated cameras: renders, and serves MJPEG over HTTP as network cameras do.

Started by the emulated machine: the spec is the first line of its standard input, and it ends when that closes. It
prints its HTTP port. `http://127.0.0.1:<port>/front` and `/wrist` are the streams.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import mujoco

from learning.sim.model import CAMERAS
from learning.sim.shared_pose import SharedPose
from learning.sim.spec import DeviceSpec
from learning.sim.world import World

_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
"""Full colour resolution: an object is a dozen pixels wide."""
_SEND_BYTES = 1 << 16
"""A few pictures: what waits for a slow client is old when it arrives."""


class Stream:
    """The newest JPEG of one camera and who waits for it."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._jpeg, self._number = b"", 0
        self._watchers = 0

    @property
    def watched(self) -> bool:
        """Whether anybody looks."""
        return self._watchers > 0

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Counts the caller as somebody who looks."""
        with self._condition:
            self._watchers += 1
        try:
            yield
        finally:
            with self._condition:
                self._watchers -= 1

    def publish(self, jpeg: bytes) -> None:
        """Makes a picture the newest."""
        with self._condition:
            self._jpeg, self._number = jpeg, self._number + 1
            self._condition.notify_all()

    def after(self, number: int) -> tuple[bytes, int]:
        """The newest picture once it is another than `number`, and its number."""
        with self._condition:
            self._condition.wait_for(lambda: self._number != number)
            return self._jpeg, self._number


class CameraServer(ThreadingHTTPServer):
    """Serves `/<camera>` for each camera."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.streams = {name: Stream() for name in CAMERAS}
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: CameraServer
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Nothing: standard error belongs to what goes wrong."""

    def do_GET(self) -> None:
        stream = self.server.streams.get(self.path.strip("/"))
        if stream is None:
            self.send_error(404, f"no such camera; there are {', '.join(self.server.streams)}")
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        number = 0
        with stream.watching(), contextlib.suppress(OSError):  # until the client has gone
            while True:
                jpeg, number = stream.after(number)
                head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
                self.wfile.write(head + jpeg + b"\r\n")


def render_forever(spec: DeviceSpec, pose: SharedPose, server: CameraServer, world: World) -> None:
    """Renders each camera at its rate, by turns, while somebody watches it."""
    turn_s = 1 / (spec.camera_hz * len(CAMERAS))
    due = time.monotonic()
    while True:
        for camera in CAMERAS:
            if server.streams[camera].watched:
                world.data.qpos[:] = pose.read()
                mujoco.mj_kinematics(world.model, world.data)
                mujoco.mj_comPos(world.model, world.data)
                mujoco.mj_camlight(world.model, world.data)
                image = cv2.cvtColor(world.render(camera), cv2.COLOR_RGB2BGR)
                server.streams[camera].publish(cv2.imencode(".jpg", image, _QUALITY)[1].tobytes())
            due = max(due + turn_s, time.monotonic() - turn_s)  # late frames are left out, not made up for
            time.sleep(max(0.0, due - time.monotonic()))


def main() -> None:
    """Body of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("descriptor", type=int, help="of the shared pose")
    descriptor = parser.parse_args().descriptor
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the machine, which then closes the pipe
    spec = DeviceSpec.from_json(sys.stdin.readline())
    world = World()
    world.reset(spec.scene)
    server = CameraServer()
    for camera in CAMERAS:
        world.render(camera)  # the first picture compiles shaders; that is not for the first client to wait for
    print(server.server_port, flush=True)
    threading.Thread(target=_end_with_input, daemon=True).start()
    render_forever(spec, SharedPose(descriptor, world.model.nq), server, world)


def _end_with_input() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(0)  # the renderer belongs to the main thread, and its streams may be waiting for slow clients


if __name__ == "__main__":
    main()
