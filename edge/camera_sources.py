"""Where camera frames come from: an MJPEG stream over HTTP, or anything OpenCV opens.

MJPEG is read here and not by OpenCV's FFmpeg, which is as quick but hands out every frame that queued up while the
machine was busy as if it were new, blocks for 30 s on a server that falls silent, and does not say why an address does
not open. `benchmarks/camera_latency.py` compares them.
"""

from __future__ import annotations

import base64
import http.client
import re
import select
import socket
import ssl
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
_LONGEST_LINE = 1 << 12


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
        self._socket, self._response = _request(url)
        self._parts = MultipartParser(_boundary(self._response))
        self._chunks = ChunkedBody() if self._response.chunked else None
        self._heard = time.monotonic()
        self._newest: tuple[bytes, int] | None = None
        self._take()  # what came with the headers Python has read already: no `select` tells of it

    def read(self) -> Grabbed | None:
        """Takes in everything that has arrived and decodes the last image of it; the ones before are old already."""
        while self._arrives(0.0 if self._newest is not None else _POLL_S):
            self._take()
        if self._newest is None:
            if time.monotonic() - self._heard > _SILENCE_S:
                raise OSError(f"the server sent nothing for {_SILENCE_S:g} s")
            return None
        (data, arrived), self._newest = self._newest, None
        image = self._cv2.imdecode(np.frombuffer(data, np.uint8), self._cv2.IMREAD_COLOR)
        if image is None:  # a damaged JPEG; the next one is on its way
            return None
        return np.ascontiguousarray(image[:, :, ::-1]), arrived

    def _arrives(self, wait_s: float) -> bool:
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():  # deciphered, so not in the kernel
            return True
        return bool(select.select([self._response], [], [], wait_s)[0])

    def _take(self) -> None:
        """Reads what is there, past `HTTPResponse`: its chunks are read ahead of, and waited for, in the middle."""
        try:
            data = self._response.fp.read1(_READ_BYTES)
        except TimeoutError as error:
            raise OSError(f"the server sent nothing for {_SILENCE_S:g} s") from error
        arrived, self._heard = time.monotonic_ns(), time.monotonic()
        if not data:
            raise OSError("the server ended the stream")
        parts = self._parts.feed(data if self._chunks is None else self._chunks.feed(data))
        if parts:
            self._newest = parts[-1], arrived

    def close(self) -> None:
        """Closes the connection."""
        self._response.close()
        self._socket.close()


class ChunkedBody:
    """Takes the frame of `Transfer-Encoding: chunked` (RFC 9112, 7.1) away. Feed it bytes in pieces of any size."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0
        """Bytes of the chunk that are still to come."""

    def feed(self, data: bytes) -> bytes:
        """What of these bytes is the body.

        Raises:
            OSError: They are no chunks, or the body has ended.
        """
        self._buffer += data
        body = bytearray()
        while self._buffer:
            if self._left:
                piece = self._buffer[: self._left]
                body += piece
                self._left -= len(piece)
                del self._buffer[: len(piece)]
                continue
            end = self._buffer.find(b"\n")
            if end < 0:
                if len(self._buffer) > _LONGEST_LINE:
                    raise OSError("the server sends no chunks where it said so")
                break
            line = bytes(self._buffer[:end]).strip()
            del self._buffer[: end + 1]
            if line:  # an empty one ends the chunk before
                self._left = _chunk_size(line)
        return bytes(body)


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


def _chunk_size(line: bytes) -> int:
    size = line.partition(b";")[0].strip()
    if re.fullmatch(rb"[0-9A-Fa-f]{1,8}", size) is None:
        raise OSError(f"the server sends no chunks where it said so: {line[:40]!r}")
    if int(size, 16) == 0:
        raise OSError("the server ended the stream")
    return int(size, 16)


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


def _request(url: str) -> tuple[socket.socket, http.client.HTTPResponse]:
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
        connected = connection.sock  # the connection forgets it if the response lasts as long as it does
        response = connection.getresponse()
    except http.client.HTTPException as error:
        raise OSError(f"it does not speak HTTP: {error!r}") from error
    if response.status != http.client.OK:
        raise OSError(f"the server answers {response.status} {response.reason}")
    return connected, response


def _boundary(response: http.client.HTTPResponse) -> bytes:
    kind = response.headers.get_content_type()
    boundary = response.headers.get_param("boundary")
    if not kind.startswith("multipart/") or not isinstance(boundary, str):
        response.close()
        raise OSError(f"the server sends {kind}, not an MJPEG stream (multipart/x-mixed-replace)")
    return boundary.encode()
