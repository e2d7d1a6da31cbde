"""Where things are in the middle of a task, without running physics: what a call that ended so leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edge.api import Call, Outcome
from learning.sim.model import CUBE_HALF_M, PLATE_HALF_HEIGHT_M
from learning.sim.scene import Item, free_spot, is_clear, reachable
from learning.tasks import find

PLACING_NOISE_M = 0.005
"""Standard deviation of where a placed cube comes to rest."""


@dataclass(frozen=True)
class Moment:
    """A state of the table as the front camera may see it.

    Attributes:
        items: The objects where they are; a held one where it was grasped.
        held: The object in the gripper.
        above: Where the gripper hangs (x, y) in metres, or None at the ready pose.
    """

    items: tuple[Item, ...]
    held: str | None = None
    above: tuple[float, float] | None = None


@dataclass
class Teleport:
    """Carries out calls by putting objects where a good or a failed execution leaves them.

    Args:
        items: The objects at the start of the task.
        rng: Placing noise, and where a lost object lands.
    """

    items: tuple[Item, ...]
    rng: np.random.Generator
    held: str | None = None
    above: tuple[float, float] | None = None
    places: dict[str, Item] = field(default_factory=dict)

    def moment(self) -> Moment:
        """The state now."""
        return Moment(self.items, self.held, self.above)

    def draw_outcome(self, call: Call, failure: float) -> Outcome:
        """How a call may end here: what cannot work fails, what can fails with probability `failure`."""
        if call.subtask == "done":
            return Outcome.OK
        fails = self.rng.random() < failure
        if call.subtask == "pick":
            if self.held is not None or not self._has(call) or self.buried(str(call.object)):
                return Outcome.MISSED
            return self._one_of(Outcome.MISSED, Outcome.MISSED, Outcome.TIMEOUT, Outcome.LOST) if fails else Outcome.OK
        nowhere = call.subtask == "place_on" and (not self._has(call) or call.object == self.held)
        forgotten = call.subtask == "place_at" and call.object not in self.places
        if self.held is None or nowhere or forgotten:
            return Outcome.TIMEOUT
        return self._one_of(Outcome.LOST, Outcome.LOST, Outcome.TIMEOUT) if fails else Outcome.OK

    def apply(self, call: Call, outcome: Outcome) -> None:
        """Moves what the call moved; a call that names nothing of this scene moves nothing."""
        if call.subtask == "pick" and self._has(call):
            self._picked(find(self.items, str(call.object)), outcome)
        elif call.subtask.startswith("place") and self.held is not None:
            self._placed(find(self.items, self.held), call, outcome)

    def _picked(self, item: Item, outcome: Outcome) -> None:
        self.above = (item.x, item.y)
        if outcome is Outcome.OK:
            self.held = item.name
            self.places.setdefault(item.name, item)
        elif outcome is Outcome.LOST:
            self._put(item, *self._dropped())
        elif self.rng.random() < 0.5:
            self.above = None

    def _placed(self, item: Item, call: Call, outcome: Outcome) -> None:
        if outcome is Outcome.TIMEOUT:
            return
        self.above = None
        if outcome is not Outcome.OK:
            self._put(item, *self._dropped())
        elif call.subtask == "place_on":
            target = find(self.items, str(call.object))
            top = max(self._top(o) for o in (target, *self._covering(target)))
            self._put(item, target.x, target.y, top, noise=1.0 if target.shape == "plate" else 0.5)
        elif call.subtask == "place_at":
            place = self.places.get(str(call.object), item)
            self._put(item, place.x, place.y, place.z)
        else:
            self._put(item, *free_spot([other for other in self.items if other.name != item.name]))

    def _put(self, item: Item, x: float, y: float, z: float = 0.0, noise: float = 1.0) -> None:
        dx, dy = np.clip(self.rng.normal(0.0, PLACING_NOISE_M * noise, 2), -0.012, 0.012)
        moved = replace(item, x=float(x + dx), y=float(y + dy), z=z, yaw=float(self.rng.uniform(-np.pi, np.pi)))
        self.items = tuple(moved if other.name == item.name else other for other in self.items)
        self.held = None

    def _dropped(self) -> tuple[float, float]:
        others = [item for item in self.items if item.name != self.held]
        for _ in range(20):
            x, y = reachable(self.rng)
            if is_clear(x, y, others):
                return float(x), float(y)
        return free_spot(others)

    def buried(self, name: str) -> bool:
        """Whether a cube stands on this object."""
        return bool(self._covering(find(self.items, name)))

    def _covering(self, item: Item) -> list[Item]:
        reach = 0.02 if item.shape == "cube" else 0.04
        free = [other for other in self.items if other.name not in (item.name, self.held)]
        return [o for o in free if o.z > item.z + 0.004 and np.hypot(o.x - item.x, o.y - item.y) < reach]

    def _has(self, call: Call) -> bool:
        return any(item.name == call.object for item in self.items)

    @staticmethod
    def _top(item: Item) -> float:
        return item.z + 2 * (CUBE_HALF_M if item.shape == "cube" else PLATE_HALF_HEIGHT_M)

    def _one_of(self, *outcomes: Outcome) -> Outcome:
        return outcomes[self.rng.integers(len(outcomes))]


def shuffled(items: Sequence[Item], rng: np.random.Generator) -> Moment:
    """A state that some task may leave: cubes put on plates, on each other, at free spots, or held."""
    hands = Teleport(tuple(items), rng)
    cubes = [item.name for item in items if item.shape == "cube"]
    targets = [item.name for item in items]
    for name in rng.permutation(cubes)[: rng.integers(0, len(cubes) + 1)]:
        if hands.buried(str(name)):
            continue
        hands.apply(Call("pick", (str(name),)), Outcome.OK)
        draw = rng.random()
        bare = [t for t in targets if t != name and not hands.buried(t)]
        plates = [t for t in bare if t.endswith("plate")]
        if draw < 0.15:
            break
        if draw < 0.65 and plates:
            hands.apply(Call("place_on", (plates[rng.integers(len(plates))],)), Outcome.OK)
        elif draw < 0.8 and bare:
            hands.apply(Call("place_on", (bare[rng.integers(len(bare))],)), Outcome.OK)
        else:
            hands.apply(Call("place_free"), Outcome.OK)
    return hands.moment()
