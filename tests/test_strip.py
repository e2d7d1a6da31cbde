"""The picture of every call's end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.report.strip import COLUMNS, GAP, SHRINK, STRIP, Strip


def plain(value: int) -> NDArray[np.uint8]:
    return np.full((40, 30, 3), value, np.uint8)


def test_each_call_leaves_the_last_picture_that_it_was_seen_in() -> None:
    strip = Strip()
    seen = [("", 0), ("a()", 10), ("a()", 20), ("", 30), ("b()", 40), ("c()", 50), ("", 60), ("", 70)]
    for call, value in seen:
        strip.see(call, plain(value))
    assert [int(picture.max()) for picture in strip.pictures] == [20, 40, 50]
    assert all(picture.shape == (40 // SHRINK, 30 // SHRINK, 3) for picture in strip.pictures)


def test_a_call_that_the_end_of_the_run_cuts_short_is_shown_as_well() -> None:
    strip = Strip()
    strip.see("a()", plain(10))
    strip.end()
    strip.end()
    assert len(strip.pictures) == 1


def test_pictures_stand_in_rows_in_the_order_of_calls(tmp_path: Path) -> None:
    import cv2

    strip = Strip()
    for number in range(COLUMNS + 1):
        strip.see(f"call {number}", plain(40 * number))
    strip.end()
    strip.write(tmp_path / STRIP)
    page = cv2.imread(str(tmp_path / STRIP))
    row, column = 40 // SHRINK + GAP, 30 // SHRINK + GAP
    corners = [page[1, 1 + column * i, 0] for i in range(COLUMNS)] + [page[row + 1, 1, 0]]
    assert corners == [40 * number for number in range(COLUMNS + 1)]


def test_a_run_without_calls_leaves_no_picture(tmp_path: Path) -> None:
    Strip().write(tmp_path / STRIP)
    assert not (tmp_path / STRIP).exists()
