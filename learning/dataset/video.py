"""H.264 in and out. Constants were measured; `benchmarks/video_codec.py` prints the table again."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from numpy.typing import NDArray

# 4:2:0 halves the colour resolution, which a 13-pixel cube notices: saturated pixels lose 15 dB against 4:4:4 at the
# same quality. `ultrafast` has the best picture of the fast presets and is the cheapest to decode; it only costs bytes.
CODEC, PIXEL_FORMAT, PRESET, CRF = "libx264", "yuv444p", "ultrafast", 18
GOP = 10
"""Frames between key frames: half a second to decode for a random access at 20 fps."""


class VideoWriter:
    """Encodes RGB frames into one mp4 at a constant rate, frame i at exactly i / fps.

    One thread: many writer processes share the machine.
    """

    def __init__(self, path: Path, size: int, fps: int) -> None:
        self._container = av.open(str(path), "w", format="mp4")
        stream = self._container.add_stream(CODEC, rate=fps, options={"preset": PRESET, "crf": str(CRF)})
        self._stream = cast(av.VideoStream, stream)
        self._stream.width = self._stream.height = size
        self._stream.pix_fmt = PIXEL_FORMAT
        self._stream.gop_size = GOP
        self._stream.codec_context.thread_count = 1
        self._time_base = Fraction(1, fps)
        self._frames = 0

    def add(self, images: NDArray[np.uint8]) -> None:
        """Appends (T, size, size, 3) uint8 RGB frames."""
        for image in images:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = self._frames, self._time_base
            self._container.mux(self._stream.encode(frame))
            self._frames += 1

    def close(self) -> None:
        """Flushes the encoder and writes the index. The file cannot be opened before."""
        self._container.mux(self._stream.encode(None))
        self._container.close()


def decode(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Yields every frame of a video in order as (height, width, 3) uint8 RGB."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # callers decode several files at once
        for frame in container.decode(stream):
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
