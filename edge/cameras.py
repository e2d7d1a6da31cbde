"""Cameras: a grabbing thread each, the newest frame only, and its age. An old frame is never handed out as new."""

from __future__ import annotations

import contextlib
import threading
import time
from types import TracebackType

from edge.camera_sources import open_source
from edge.errors import CameraError
from edge.types import Frame

_BACK_OFF_S = (0.1, 0.2, 0.5, 1.0, 2.0)


class Camera:
    """One camera, open from construction to `close`. Use as a context manager, or call `close`.

    A stream that breaks off is opened again in the background, with back-off; until it shows something new, `latest`
    refuses. Frames carry the time they arrived, on CLOCK_MONOTONIC.

    Args:
        name: What the rest of the robot calls it: `front` or `wrist`.
        address: What it is: a V4L2 index or path (`0`, `/dev/video2`) or a URL (`http://host:8080/stream`, `rtsp://…`).
        stale_s: Frames older than this are refused.
        open_timeout_s: How long the first frame may take.

    Raises:
        CameraError: No frame came within `open_timeout_s`.
    """

    def __init__(self, name: str, address: str, *, stale_s: float = 0.3, open_timeout_s: float = 5.0) -> None:
        self.name, self.address, self.stale_s = name, address, stale_s
        self.frames = 0
        """Frames taken in since it was opened."""
        self._newest: Frame | None = None
        self._trouble = "it sent nothing"
        self._arrived = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._grab, name=f"camera {name}", daemon=True)
        self._thread.start()
        with self._arrived:
            self._arrived.wait_for(lambda: self._newest is not None, open_timeout_s)
            opened = self._newest is not None
        if not opened:
            self.close()
            raise CameraError(
                f"camera {name!r} does not open: {address}",
                expected=f"a first frame within {open_timeout_s:g} s",
                got=self._trouble,
                fix="check that it is connected, that the address is right (a /dev/video path or a URL that shows a "
                "picture in a browser), and that no other program holds it",
            )

    @property
    def age_s(self) -> float:
        """Seconds since the newest frame arrived."""
        newest = self._newest
        return float("inf") if newest is None else (time.monotonic_ns() - newest.time_ns) * 1e-9

    def latest(self) -> Frame:
        """The newest frame; the same one again while no newer has come.

        Raises:
            CameraError: The newest frame is older than `stale_s`.
        """
        newest = self._newest
        if newest is None or self.age_s > self.stale_s:
            raise self._stale()
        return newest

    def after(self, time_ns: int, timeout_s: float = 1.0) -> Frame:
        """The newest frame that arrived after a moment; waits for one.

        Args:
            time_ns: The moment, CLOCK_MONOTONIC.
            timeout_s: How long to wait.

        Raises:
            CameraError: No such frame came in time.
        """
        with self._arrived:
            self._arrived.wait_for(lambda: self._newest is not None and self._newest.time_ns > time_ns, timeout_s)
            newest = self._newest
        if newest is None or newest.time_ns <= time_ns:
            raise self._stale()
        return newest

    def close(self) -> None:
        """Stops the thread and gives the device back."""
        self._closing.set()
        self._thread.join(1.0)  # a driver stuck in an open call keeps its daemon thread; it dies with the process

    def __enter__(self) -> Camera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _stale(self) -> CameraError:
        return CameraError(
            f"camera {self.name!r} shows nothing new: {self.address}",
            expected=f"a frame at most {self.stale_s:g} s old",
            got=f"one {self.age_s:.1f} s old ({self._trouble})",
            fix="check its cable or network; it is opened again by itself once it answers",
        )

    def _grab(self) -> None:
        failures = 0
        while not self._closing.is_set():
            try:
                with contextlib.closing(open_source(self.address)) as source:
                    while not self._closing.is_set():
                        grabbed = source.read()
                        if grabbed is None:
                            continue
                        failures, self._trouble = 0, "it stopped sending"
                        with self._arrived:
                            self._newest = Frame(self.name, *grabbed)
                            self.frames += 1
                            self._arrived.notify_all()
            except OSError as error:
                self._trouble = str(error) or type(error).__name__
            except Exception as error:  # whatever a library makes of a broken stream: the camera may come back
                self._trouble = f"{type(error).__name__}: {error}"
            self._closing.wait(_BACK_OFF_S[min(failures, len(_BACK_OFF_S) - 1)])
            failures += 1
