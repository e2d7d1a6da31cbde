"""How long an MJPEG camera takes to open and how old its frames are when the program has them: our reader and OpenCV's.

    python benchmarks/camera_latency.py

A server on this machine sends pictures that carry their own number; age is the time from the last byte leaving the
server to the decoded picture being in the program's hands.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edge.camera_sources import MjpegSource

BITS, SIZE = 16, 192
PAUSE_S = 1.0
Read = Callable[[], np.ndarray]


def picture(number: int) -> np.ndarray:
    """A number as a row of black and white bars over soft noise, about as many bytes as a picture of a table."""
    noise = np.random.default_rng(number).integers(0, 256, (SIZE // 4, SIZE // 4, 3), np.uint8)
    image = cv2.resize(noise, (SIZE, SIZE))
    for bit in range(BITS):
        image[:40, bit * SIZE // BITS : (bit + 1) * SIZE // BITS] = 255 * (number >> bit & 1)
    return image


def number(image: np.ndarray) -> int:
    """The number in a picture."""
    bars = image[:40].mean((0, 2)).reshape(BITS, -1).mean(1)
    return sum(1 << bit for bit in range(BITS) if bars[bit] > 128)


def serve(pipe: Connection, rate_hz: float) -> None:
    """Sends pictures at a rate to whoever connects; answers a number with the time that picture was sent."""
    pictures = [cv2.imencode(".jpg", picture(i), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes() for i in range(256)]
    sent: dict[int, int] = {}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            due = time.monotonic()
            try:
                for index in range(10**9):
                    body = pictures[index % 256]
                    head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(body)
                    self.wfile.write(head + body + b"\r\n")
                    sent[index % 256] = time.monotonic_ns()
                    due += 1 / rate_hz
                    time.sleep(max(0.0, due - time.monotonic()))
            except OSError:
                return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    pipe.send(f"http://127.0.0.1:{server.server_port}/")
    import threading

    threading.Thread(target=server.serve_forever, daemon=True).start()
    while True:
        try:
            pipe.send(sent.get(pipe.recv(), 0))
        except EOFError:
            return


def measure(name: str, open_it: Callable[[str], Read], url: str, pipe: Connection, frames: int) -> None:
    start = time.monotonic()
    read = open_it(url)
    read()
    opened = time.monotonic() - start

    def age_ms() -> float:
        image = read()
        now = time.monotonic_ns()
        pipe.send(number(image))
        return (now - pipe.recv()) * 1e-6

    ages = [age_ms() for _ in range(frames)]
    time.sleep(PAUSE_S)  # as if the machine were busy
    held_up = age_ms()
    middle, high = np.percentile(ages, [50, 99])
    print(
        f"{name:24} first frame {opened:6.3f} s    age p50 {middle:7.2f}  p99 {high:7.2f} ms  n={frames}    "
        f"after a pause of {PAUSE_S:g} s {held_up:6.1f} ms"
    )


def ours(url: str) -> Read:
    source = MjpegSource(url)

    def read() -> np.ndarray:
        while (grabbed := source.read()) is None:
            pass
        return grabbed[0]

    return read


def opencv(url: str) -> Read:
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG)
    return lambda: capture.read()[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=25.0, help="frames a second")
    parser.add_argument("--frames", type=int, default=150)
    arguments = parser.parse_args()
    for name, open_it in (("edge.camera_sources", ours), ("cv2.VideoCapture ffmpeg", opencv)):
        here, there = multiprocessing.Pipe()
        process = multiprocessing.Process(target=serve, args=(there, arguments.rate), daemon=True)
        process.start()
        there.close()
        measure(name, open_it, here.recv(), here, arguments.frames)
        process.terminate()


if __name__ == "__main__":
    main()
