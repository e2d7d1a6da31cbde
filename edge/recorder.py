"""The video of a run, the front camera with the current call written on it, and a picture of every call's end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import CameraError
from edge.report.strip import STRIP, Strip
from edge.status import Status
from edge.types import Frame
from edge.workers import Worker

VIDEO = "front.mp4"
RATE_HZ = 20
PICTURE, CAPTION = 480, 64
"""Side of the picture and height of the caption below it, pixels."""


class VideoRecorder:
    """Writes `front.mp4`, and `calls.png` beside it, from a thread of its own; the newest frame at a fixed rate.

    Args:
        path: The file to write.
        latest: Gives the newest frame of the front camera.
        status: Is read for the caption.
        warn: Is told once if the video cannot be written; the run goes on without it.
    """

    def __init__(self, path: Path, latest: Callable[[], Frame], status: Status, warn: Callable[[str], None]) -> None:
        self._path, self._latest, self._status, self._warn = path, latest, status, warn
        self._newest = np.zeros((PICTURE, PICTURE, 3), np.uint8)
        self._stop = threading.Event()
        self._thread = Worker(self._run, "recorder")

    def start(self) -> None:
        """Begins to record."""
        self._thread.start()

    def stop(self) -> None:
        """Finishes the file; returns when it can be played."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10.0)

    def _run(self) -> None:
        try:
            import av

            strip = Strip()
            with av.open(str(self._path), "w") as container:
                stream: Any = container.add_stream("libx264", rate=RATE_HZ)
                stream.width, stream.height, stream.pix_fmt = PICTURE, PICTURE + CAPTION, "yuv420p"
                stream.options = {"preset": "ultrafast", "crf": "23", "threads": "1"}
                due = time.monotonic()
                while not self._stop.is_set():
                    call = self._status.call
                    picture = caption(self._image(), self._status)
                    strip.see(call, picture)
                    for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                        container.mux(packet)
                    due = max(due + 1 / RATE_HZ, time.monotonic() - 1.0)  # a long stall is not caught up
                    self._stop.wait(max(0.0, due - time.monotonic()))
                for packet in stream.encode():
                    container.mux(packet)
            strip.end()
            strip.write(self._path.with_name(STRIP))
        except Exception as problem:  # a video is never worth the run
            self._warn(f"no video: {problem or type(problem).__name__}")

    def _image(self) -> NDArray[np.uint8]:
        """The newest image, darkened while the camera shows nothing new."""
        try:
            self._newest = self._latest().image
        except CameraError:
            return self._newest // 3
        return self._newest


def caption(image: NDArray[np.uint8], status: Status) -> NDArray[np.uint8]:
    """A camera image, enlarged, with the task and the current call below it: (544, 480, 3) uint8 RGB."""
    import cv2

    page = np.full((PICTURE + CAPTION, PICTURE, 3), 24, np.uint8)
    height, width = image.shape[:2]
    scale = PICTURE / max(height, width)
    size = round(width * scale), round(height * scale)
    page[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    call = status.call or (f"{status.phase}: {status.reason}" if status.reason else status.phase)
    for line, (text, colour) in enumerate(((status.task, (170, 170, 170)), (call, (255, 220, 120)))):
        at = (8, PICTURE + 24 + 28 * line)
        cv2.putText(page, _ascii(text), at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
    return page


def _ascii(text: str) -> str:
    """OpenCV's font has no other letters."""
    return text.encode("ascii", "replace").decode()[:58]
