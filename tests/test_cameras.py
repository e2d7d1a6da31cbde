"""A camera shows the newest frame with its age, says why it does not open, and never passes off an old frame as new."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.camera_sources import ChunkedBody, MjpegSource, MultipartParser
from edge.cameras import Camera
from edge.errors import CameraError

PERIOD_S = 0.03


def _picture(number: int) -> np.ndarray:
    """An RGB picture that tells its number by its brightness, redder than it is blue."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0], image[..., 2] = 200, number % 20 * 10
    return image


def _jpeg(number: int) -> bytes:
    return cv2.imencode(".jpg", _picture(number)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def _number(image: np.ndarray) -> int:
    return round(float(image[..., 2].mean()) / 10)


def _look_until_refused(camera: Camera) -> None:
    while True:
        camera.latest()
        time.sleep(0.01)


class Server(ThreadingHTTPServer):
    """A network camera: counts frames up, can fall silent, send garbage, leave out Content-Length, or hang up."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sent = 0
        self.silent, self.hang_up = threading.Event(), threading.Event()
        self.with_length = True
        self.damaged: set[int] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/stream"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/page":
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            return
        if self.path != "/stream":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            while not self.server.hang_up.is_set():
                if not self.server.silent.is_set():
                    self.server.sent += 1
                    body = b"garbage" if self.server.sent in self.server.damaged else _jpeg(self.server.sent)
                    length = b"Content-Length: %d\r\n" % len(body) if self.server.with_length else b""
                    self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n" + length + b"\r\n" + body + b"\r\n")
                time.sleep(PERIOD_S)
        except OSError:
            pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running
        running.hang_up.set()
        running.shutdown()


@pytest.mark.parametrize("with_length", [True, False])
def test_it_shows_the_newest_frame_in_rgb(server: Server, with_length: bool) -> None:
    server.with_length = with_length
    with Camera("front", server.url) as camera:
        frame = camera.latest()
        assert frame.camera == "front"
        assert frame.image.shape == (64, 64, 3)
        assert frame.image.dtype == np.uint8
        assert abs(int(frame.image[..., 0].mean()) - 200) < 5  # red is the first channel
        for _ in range(5):
            asked = time.monotonic_ns()
            newer = camera.after(asked)
            assert newer.time_ns > asked
            assert (server.sent - _number(newer.image)) % 20 <= 1  # what the server sent last, or just before
        assert camera.age_s < camera.stale_s


def test_a_reader_that_was_held_up_skips_what_became_old(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames queue in the network while the machine is busy. They must not be shown one after the other as new."""
    decode, hold = cv2.imdecode, threading.Event()
    hold.set()

    def slow(*arguments: object) -> object:
        hold.wait(20)
        return decode(*arguments)

    monkeypatch.setattr(cv2, "imdecode", slow)
    with Camera("front", server.url) as camera:
        hold.clear()
        start = server.sent
        while server.sent < start + 12:
            time.sleep(PERIOD_S)
        released = time.monotonic_ns()
        hold.set()
        camera.after(released)
        assert (server.sent - _number(camera.latest().image)) % 20 <= 2


def test_a_silent_camera_is_refused_and_comes_back(server: Server) -> None:
    with Camera("wrist", server.url, stale_s=0.2) as camera:
        server.silent.set()
        with pytest.raises(CameraError, match="wrist") as error:
            _look_until_refused(camera)
        assert server.url in str(error.value)
        assert "old" in error.value.got
        with pytest.raises(CameraError):
            camera.after(time.monotonic_ns(), timeout_s=0.05)
        server.silent.clear()
        assert camera.after(time.monotonic_ns(), timeout_s=20.0)


def test_a_broken_connection_is_opened_again(server: Server) -> None:
    with Camera("front", server.url) as camera:
        server.hang_up.set()
        with pytest.raises(CameraError):
            _look_until_refused(camera)
        server.hang_up.clear()
        assert camera.after(time.monotonic_ns(), timeout_s=20.0)


@pytest.mark.parametrize("raised", [http.client.IncompleteRead(b""), ValueError("no number"), cv2.error("its own")])
def test_whatever_a_source_raises_is_told_and_it_is_opened_again(
    server: Server, monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    read, broken, seen = MjpegSource.read, threading.Event(), threading.Event()

    def break_off(source: MjpegSource) -> object:
        if broken.is_set():
            seen.set()
            raise raised
        return read(source)

    monkeypatch.setattr(MjpegSource, "read", break_off)
    with Camera("front", server.url) as camera:
        broken.set()
        assert seen.wait(20)
        with pytest.raises(CameraError) as error:
            _look_until_refused(camera)
        assert type(raised).__name__ in error.value.got
        broken.clear()
        assert camera.after(time.monotonic_ns(), timeout_s=20.0)


def test_a_damaged_picture_is_passed_over(server: Server) -> None:
    server.damaged = set(range(2, 100, 2))
    with Camera("front", server.url) as camera:
        for _ in range(4):
            assert _number(camera.after(time.monotonic_ns()).image) % 2 == 1


def test_a_camera_that_does_not_open_says_which_and_why(server: Server) -> None:
    cases = {
        server.url.replace("/stream", "/nothing"): "404",
        server.url.replace("/stream", "/page"): "text/html",
        "http://127.0.0.1:1/stream": "refused",
        "http://127.0.0.1:port/stream": "ValueError",
        "/dev/video97": "OpenCV",
    }
    for address, reason in cases.items():
        with pytest.raises(CameraError) as error:
            Camera("front", address, open_timeout_s=0.5)
        assert address in str(error.value)
        assert reason in error.value.got
        assert error.value.fix


def test_a_server_that_accepts_and_says_nothing_does_not_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(CameraError, match="does not open"):
            Camera("front", address, open_timeout_s=0.3)


PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
CHUNKED = PLAIN.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")


def _part(number: int) -> bytes:
    body = _jpeg(number)
    return b"--frame\r\nContent-Length: %d\r\n\r\n" % len(body) + body + b"\r\n"


def _in_chunks(data: bytes, size: int) -> bytes:
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    return b"".join(b"%x; some=thing\r\n" % len(piece) + piece + b"\r\n" for piece in pieces)


class Sender:
    """A network camera that sends what the test says, when it says it."""

    def __init__(self, first: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._accept, args=(first,), daemon=True)
        self._thread.start()

    def _accept(self, first: bytes) -> None:
        self.connection, _ = self._listener.accept()
        self.connection.recv(4096)
        self.send(first)

    def send(self, data: bytes) -> None:
        assert self.connection is not None
        self.connection.sendall(data)

    def close(self) -> None:
        self._thread.join(20)
        for end in (self.connection, self._listener):
            if end is not None:
                end.close()


def _next(source: MjpegSource) -> tuple[int, int]:
    """The number of the next picture and when it came, while the server says nothing more."""
    while True:
        if (grabbed := source.read()) is not None:
            return _number(grabbed[0]), grabbed[1]


@pytest.mark.parametrize("chunk", [None, 100, 1000, 1 << 20])
def test_every_picture_is_shown_before_the_next_is_sent(chunk: int | None) -> None:
    """Also the first, which comes in one packet with the headers, and those whose end comes with a chunk's."""

    def packed(number: int) -> bytes:
        return _part(number) if chunk is None else _in_chunks(_part(number), chunk)

    first = (PLAIN if chunk is None else CHUNKED) + packed(1)
    with contextlib.closing(Sender(first)) as sender, contextlib.closing(MjpegSource(sender.url)) as source:
        assert _next(source)[0] == 1
        for number in range(2, 6):
            sent = time.monotonic_ns()
            sender.send(packed(number))
            shown, arrived = _next(source)
            assert shown == number
            assert arrived > sent
        sender.send(packed(6) + packed(7)[:500])
        assert _next(source)[0] == 6


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"0\r\n\r\n", "ended"), (b"no size\r\n", "no chunks"), (b"-5\r\n", "no chunks"), (b"f" * 9000, "no chunks")],
)
def test_chunks_that_end_or_are_none_are_an_error(data: bytes, said: str) -> None:
    first = CHUNKED + _in_chunks(_part(1), 500)
    with contextlib.closing(Sender(first)) as sender, contextlib.closing(MjpegSource(sender.url)) as source:
        assert _next(source)[0] == 1
        sender.send(data)
        with pytest.raises(OSError, match=said):
            _next(source)


def test_opencv_opens_what_is_no_mjpeg_stream(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (64, 64))
    for _ in range(3):
        writer.write(_picture(7)[:, :, ::-1])
    writer.release()
    with Camera("front", str(path)) as camera:
        image = camera.latest().image
        assert abs(int(image[..., 0].mean()) - 200) < 8
        assert _number(image) == 7


@given(st.binary(min_size=1, max_size=300), st.integers(1, 100), st.lists(st.integers(1, 40)))
def test_a_body_in_chunks_comes_back_however_it_is_cut(body: bytes, chunk: int, sizes: list[int]) -> None:
    stream, parser, found = _in_chunks(body, chunk), ChunkedBody(), b""
    for size in [*sizes, len(stream)]:
        found += parser.feed(stream[:size])
        stream = stream[size:]
    assert found == body


@given(
    st.lists(st.binary(max_size=40).filter(lambda body: b"--frame" not in body), min_size=1, max_size=5),
    st.data(),
    st.booleans(),
)
def test_parts_come_back_however_the_stream_is_cut(bodies: list[bytes], data: st.DataObject, with_length: bool) -> None:
    if not with_length:
        bodies = [body.replace(b"\xff\xd9", b"") + b"\xff\xd9" for body in bodies]
    head = "--frame\r\nContent-Type: image/jpeg\r\n{}\r\n"
    stream = b"".join(
        head.format(f"Content-Length: {len(body)}\r\n" if with_length else "").encode() + body + b"\r\n"
        for body in bodies
    )
    parser, found, at = MultipartParser(b"frame"), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream)))
        found += parser.feed(stream[at : at + size])
        at += size
    assert found == bodies
