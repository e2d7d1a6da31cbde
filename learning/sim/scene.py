"""What a scene is, and random ones. Metres, radians, base frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from learning.sim.model import CUBES, PLATES

COLOURS = ("red", "green", "blue", "yellow", "orange", "purple")

PAN_AXIS_X_M = 0.0388
REACH_M = (0.135, 0.225)
"""Distances from the pan axis at which objects stand: where a top-down grasp is comfortable."""
SWEEP_RAD = 1.05
"""Objects stand within this pan angle to either side."""

CLEARANCE_M = {("cube", "cube"): 0.066, ("cube", "plate"): 0.082, ("plate", "plate"): 0.098}
"""Least distance between centres, so that a gripper fits between and nothing overlaps."""

FREE_SPOTS = tuple(
    (PAN_AXIS_X_M + r * float(np.cos(a)), r * float(np.sin(a)))
    for r, a in ((0.18, -1.25), (0.18, 1.25), (0.18, -0.42), (0.18, 0.42), (0.18, -0.85), (0.18, 0.85), (0.18, 0.0))
)
"""Where `place_free` puts things down: the first of these that nothing stands near."""


@dataclass(frozen=True)
class Item:
    """An object of a scene: `name` is "<colour> <shape>", `z` the height of its underside."""

    name: str
    x: float
    y: float
    yaw: float = 0.0
    z: float = 0.0

    @property
    def shape(self) -> str:
        return self.name.split()[1]


@dataclass(frozen=True)
class Scene:
    """Everything that is random about an episode.

    Attributes:
        items: Objects on the table.
        camera: Front camera offset, (x, y, z) metres then (rx, ry, rz) radians; wrist camera likewise.
        light: Direction x, y of the sun, and its brightness.
        tint: Table brightness.
        shade: Per item, multiplies its colour.
    """

    items: tuple[Item, ...]
    camera: tuple[float, ...] = (0.0,) * 6
    wrist_camera: tuple[float, ...] = (0.0,) * 6
    light: tuple[float, float, float] = (0.2, 0.1, 0.5)
    tint: float = 1.0
    shade: tuple[float, ...] = field(default=())

    def item(self, name: str) -> Item:
        return next(item for item in self.items if item.name == name)


def reachable(rng: np.random.Generator) -> tuple[float, float]:
    """A random point of the table that the arm works at, uniform in area."""
    r = np.sqrt(rng.uniform(REACH_M[0] ** 2, REACH_M[1] ** 2))
    a = rng.uniform(-SWEEP_RAD, SWEEP_RAD)
    return PAN_AXIS_X_M + r * np.cos(a), r * np.sin(a)


def clearance(a: str, b: str) -> float:
    """Least distance between centres of two shapes."""
    return CLEARANCE_M[(min(a, b), max(a, b))]


def is_clear(x: float, y: float, items: tuple[Item, ...] | list[Item], shape: str = "cube") -> bool:
    """Whether an object of `shape` could stand at (x, y)."""
    return all(np.hypot(x - o.x, y - o.y) >= clearance(shape, o.shape) for o in items)


def free_spot(items: tuple[Item, ...] | list[Item]) -> tuple[float, float]:
    """Where `place_free` goes: the first free spot, or the clearest one when none is free."""
    for x, y in FREE_SPOTS:
        if is_clear(x, y, items):
            return x, y
    return max(FREE_SPOTS, key=lambda s: min(np.hypot(s[0] - o.x, s[1] - o.y) for o in items))


def sample_scene(rng: np.random.Generator, names: tuple[str, ...]) -> Scene:
    """A random scene with exactly the named objects, one free spot left, and the usual camera and light jitter.

    Raises:
        ValueError: More objects than the pool holds.
    """
    if sum("cube" in n for n in names) > CUBES or sum("plate" in n for n in names) > PLATES:
        raise ValueError(f"a scene holds at most {CUBES} cubes and {PLATES} plates, got {names}")
    while True:
        items: list[Item] = []
        for name in sorted(names, key=lambda n: n.split()[1] != "plate"):
            for _ in range(60):
                x, y = reachable(rng)
                if is_clear(x, y, items, name.split()[1]):
                    items.append(Item(name, float(x), float(y), float(rng.uniform(-np.pi, np.pi))))
                    break
        if len(items) == len(names) and any(is_clear(*spot, items) for spot in FREE_SPOTS):
            break

    def jitter(metres: float, radians: float) -> tuple[float, ...]:
        return (*rng.uniform(-metres, metres, 3).tolist(), *rng.uniform(-radians, radians, 3).tolist())

    order = {name: i for i, name in enumerate(names)}
    return Scene(
        items=tuple(sorted(items, key=lambda item: order[item.name])),
        camera=jitter(0.004, 0.008),
        wrist_camera=jitter(0.001, 0.01),
        light=(float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.5, 0.5)), float(rng.uniform(0.35, 0.65))),
        tint=float(rng.uniform(0.8, 1.1)),
        shade=tuple(float(v) for v in rng.uniform(0.85, 1.1, len(names))),
    )


def sample_names(rng: np.random.Generator, cubes: int, plates: int) -> tuple[str, ...]:
    """Distinct names for so many cubes and plates."""
    cube = rng.choice(len(COLOURS), cubes, replace=False)
    plate = rng.choice(len(COLOURS), plates, replace=False)
    return (*(f"{COLOURS[i]} cube" for i in cube), *(f"{COLOURS[i]} plate" for i in plate))
