"""The reference robot API: cubes and plates on a table. Bodies are the oracle; signatures are the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.api import Cell, Grid, Noun, RobotApi, subtask

COLOURS = ("red", "green", "blue", "yellow", "orange", "purple")

Cube = Annotated[str, Noun(COLOURS, ("cube",))]
Object = Annotated[str, Noun(COLOURS, ("cube", "plate"))]
Hint = Annotated[Cell, Grid(columns=10, rows=10)]

Motion = Iterator[NDArray[np.float64]]
"""Joint targets (6,), one per policy period, until the subtask has ended: radians, gripper 0 (closed) to 1 (open)."""


class Hands(Protocol):
    """What the bodies can ask of an arm that sees everything; `learning.sim` has one."""

    def grasp(self, cube: str) -> Motion:
        """Grasp a cube and lift it."""

    def put_on(self, target: str) -> Motion:
        """Put what is held on a plate or a cube; ends at the ready pose."""

    def put_at(self, place_of: str) -> Motion:
        """Put what is held where a cube was when it was first grasped in this task; ends at the ready pose."""

    def put_free(self) -> Motion:
        """Put what is held at a free spot of the table; ends at the ready pose."""

    def finish(self) -> Motion:
        """Nothing is left to do."""


@subtask
def pick(hands: Hands, cube: Cube, *, at: Hint | None = None) -> Motion:
    """grasp the cube and lift it"""
    return hands.grasp(cube)


@subtask
def place_on(hands: Hands, target: Object, *, at: Hint | None = None) -> Motion:
    """put what is held on the plate or cube"""
    return hands.put_on(target)


@subtask
def place_at(hands: Hands, cube: Cube) -> Motion:
    """put what is held where the cube was first grasped"""
    return hands.put_at(place_of=cube)


@subtask
def place_free(hands: Hands) -> Motion:
    """put what is held at a free spot"""
    return hands.put_free()


@subtask
def done(hands: Hands) -> Motion:
    """the task is finished"""
    return hands.finish()


API = RobotApi([pick, place_on, place_at, place_free, done])
