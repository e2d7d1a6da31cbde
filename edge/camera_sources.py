"""Where camera frames come from: an MJPEG stream over HTTP, or anything OpenCV opens.

MJPEG is read here and not by OpenCV's FFmpeg, which is as quick but hands out every frame that queued up while the
machine was busy as if it were new, blocks for 30 s on a server that falls silent, and does not say why an address does
not open. `benchmarks/camera_latency.py` compares them.
"""

from __future__ import annotations

import base64
import http.client
import select
import time
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

Grabbed = tuple[NDArray[np.uint8], int]
"""(height, width, 3) uint8 RGB, and when it arrived: nanoseconds on CLOCK_MONOTONIC."""

_POLL_S = 0.1
_SILENCE_S = 2.0
_JPEG_END = b"\xff\xd9"
_READ_BYTES = 1 << 20
_MAX_PART_BYTES = 1 << 25


class Source(Protocol):
    """A stream of frames, read by one thread."""

    def read(self) -> Grabbed | None:
        """The newest frame, or None when none came for a short while.

        Raises:
            OSError: The stream has ended, or is none.
        """

    def close(self) -> None:
        """Gives the device back."""


def open_source(address: str) -> Source:
    """Opens a camera by its address: V4L2 index or path, or URL.

    Raises:
        OSError: It does not open.
    """
    if urlsplit(address).scheme in ("http", "https"):
        return MjpegSource(address)
    return OpenCvSource(address)


class OpenCvSource:
    """A V4L2 device, or a URL of another kind, through OpenCV."""

    def __init__(self, address: str) -> None:
        cv2 = _opencv()
        self._capture: Any = cv2.VideoCapture(int(address) if address.isdecimal() else address)
        if not self._capture.isOpened():
            raise OSError("OpenCV cannot open it")
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a queue in the driver would be a delay

    def read(self) -> Grabbed | None:
        """Waits for the device's next frame."""
        grabbed = self._capture.grab()
        arrived = time.monotonic_ns()
        image = self._capture.retrieve()[1] if grabbed else None
        if image is None:
            raise OSError("the device stopped delivering")
        return np.ascontiguousarray(image[:, :, ::-1]), arrived

    def close(self) -> None:
        """Gives the device back."""
        self._capture.release()


class MjpegSource:
    """JPEG images in a `multipart/x-mixed-replace` response, as network cameras and mjpg-streamer send them."""

    def __init__(self, url: str) -> None:
        self._cv2 = _opencv()
        self._response = _request(url)
        self._parts = MultipartParser(_boundary(self._response))
        self._heard = time.monotonic()

    def read(self) -> Grabbed | None:
        """Takes in everything that has arrived and decodes the last image of it; the ones before are old already."""
        newest: bytes | None = None
        while True:
            ready, _, _ = select.select([self._response], [], [], 0.0 if newest is not None else _POLL_S)
            now = time.monotonic()
            if not ready:
                break
            data = self._response.read1(_READ_BYTES)
            arrived = time.monotonic_ns()
            if not data:
                raise OSError("the server ended the stream")
            self._heard = now
            parts = self._parts.feed(data)
            newest = parts[-1] if parts else newest
        if newest is None:
            if now - self._heard > _SILENCE_S:
                raise OSError(f"the server sent nothing for {_SILENCE_S:g} s")
            return None
        image = self._cv2.imdecode(np.frombuffer(newest, np.uint8), self._cv2.IMREAD_COLOR)
        if image is None:  # a damaged JPEG; the next one is on its way
            return None
        return np.ascontiguousarray(image[:, :, ::-1]), arrived

    def close(self) -> None:
        """Closes the connection."""
        self._response.close()


class MultipartParser:
    """Finds the bodies in a multipart stream, with or without Content-Length. Feed it bytes in pieces of any size."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"--" + boundary.removeprefix(b"--")  # some servers write the dashes into the header too
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies that these bytes complete, oldest first.

        Raises:
            OSError: A part is larger than any camera image.
        """
        self._buffer += data
        bodies = []
        while (body := self._take()) is not None:
            bodies.append(body)
        if len(self._buffer) > _MAX_PART_BYTES:
            raise OSError(f"no image ends within {_MAX_PART_BYTES >> 20} MiB: this is no MJPEG stream")
        return bodies

    def _take(self) -> bytes | None:
        start = self._buffer.find(self._delimiter)
        head_end = self._buffer.find(b"\r\n\r\n", start)
        if start < 0 or head_end < 0:
            return None
        first = head_end + 4
        length = _content_length(self._buffer[start:head_end])
        if length is None:
            last = self._buffer.find(b"\r\n" + self._delimiter, first)
            if last < 0:
                # A JPEG ends with FF D9, found nowhere else in it: no need to wait for the next boundary.
                last = len(self._buffer.rstrip(b"\r\n"))
                if not self._buffer.endswith(_JPEG_END, first, last):
                    return None
        else:
            last = first + length
            if last > len(self._buffer):
                return None
        body = bytes(self._buffer[first:last])
        del self._buffer[:last]
        return body


def _content_length(head: bytearray) -> int | None:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return int(value)
    return None


def _opencv() -> Any:
    """OpenCV, imported on use: `import edge` needs numpy alone."""
    import cv2

    return cv2


def _request(url: str) -> http.client.HTTPResponse:
    parts = urlsplit(url)
    if not parts.hostname:
        raise OSError("the URL names no host")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=_SILENCE_S)
    headers = {}
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), headers=headers)
        response = connection.getresponse()
    except http.client.HTTPException as error:
        raise OSError(f"it does not speak HTTP: {error!r}") from error
    if response.status != http.client.OK:
        raise OSError(f"the server answers {response.status} {response.reason}")
    return response


def _boundary(response: http.client.HTTPResponse) -> bytes:
    kind = response.headers.get_content_type()
    boundary = response.headers.get_param("boundary")
    if not kind.startswith("multipart/") or not isinstance(boundary, str):
        response.close()
        raise OSError(f"the server sends {kind}, not an MJPEG stream (multipart/x-mixed-replace)")
    return boundary.encode()
