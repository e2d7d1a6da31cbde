"""The run in one glance: the picture at the end of every call, in the order in which they were made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

STRIP = "calls.png"
COLUMNS = 3
SHRINK = 2
GAP = 4


class Strip:
    """Collects a picture a call from pictures that come all the time."""

    def __init__(self) -> None:
        self.pictures: list[NDArray[np.uint8]] = []
        """Of the calls that have ended, (h, w, 3) uint8 RGB, `SHRINK` times smaller than they came."""
        self._call = ""
        self._last: NDArray[np.uint8] | None = None

    def see(self, call: str, picture: NDArray[np.uint8]) -> None:
        """Takes the newest picture (h, w, 3) and the call that is being done, "" for none."""
        if call != self._call:
            self.end()
        self._call, self._last = call, picture if call else None

    def end(self) -> None:
        """The call that is being done has ended."""
        if self._last is not None:
            height, width = (size // SHRINK * SHRINK for size in self._last.shape[:2])
            blocks = self._last[:height, :width].reshape(height // SHRINK, SHRINK, width // SHRINK, SHRINK, 3)
            self.pictures.append(blocks.mean((1, 3)).astype(np.uint8))
        self._call, self._last = "", None

    def write(self, path: Path) -> None:
        """Writes all pictures, row by row, as one; nothing when there are none."""
        if not self.pictures:
            return
        import cv2

        height, width = self.pictures[0].shape[:2]
        columns = min(COLUMNS, len(self.pictures))
        rows = -(-len(self.pictures) // columns)
        page = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, np.uint8)
        for number, picture in enumerate(self.pictures):
            row, column = divmod(number, columns)
            top, left = row * (height + GAP), column * (width + GAP)
            page[top : top + height, left : left + width] = picture
        cv2.imwrite(str(path), cv2.cvtColor(page, cv2.COLOR_RGB2BGR))
