"""What the faults of a plan do to frames. Pure: which frames they hit follows from the seed and the frames alone."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from firmware_bridge.emulators.faults import Fault, FaultError, FaultPlan

_NOISE_BYTES = 12


@dataclass(frozen=True)
class Passed:
    """What became of a frame, or a copy of it: its bytes, how late it is, and whether what is behind it waits."""

    data: bytes
    late_ns: int = 0
    holds: bool = False


class Injector:
    """Takes every frame of one direction, gives what a receiver gets instead.

    Args:
        plan: Its faults that happen to frames of this direction count, the others do not.
        direction: "requests" or "replies".
        start_ns: When the plan's time begins, on the clock of `passed`.
        feetech: Whether the frames are servo frames; otherwise they are any bytes.

    Attributes:
        counts: How often each kind of fault has happened.

    Raises:
        FaultError: A fault needs servo frames, and these are none.
    """

    def __init__(self, plan: FaultPlan, direction: str, start_ns: int = 0, *, feetech: bool = True) -> None:
        faults = plan.on_frames(direction).faults
        self._start_ns, self._feetech = start_ns, feetech
        # A stream of random numbers for each fault: another fault in the plan does not change when this one happens.
        self._faults = [(fault, Random(f"{plan.seed} {direction} {n} {fault}")) for n, fault in enumerate(faults)]
        self._left = [fault.count for fault in faults]
        self.counts: dict[str, int] = {}
        if not feetech and (odd := [f for f in faults if f.kind in ("sum", "id") or f.servos is not None]):
            raise FaultError(f"{odd[0]}: only for servo frames, not for any line")

    def __bool__(self) -> bool:
        return bool(self._faults)

    def passed(self, frame: bytes, now_ns: int, id: int | None = None) -> list[Passed]:
        """A frame to or from servo `id` (None: to none alone) as it is passed on: nothing, it, or several."""
        out = [Passed(frame)]
        seconds = (now_ns - self._start_ns) * 1e-9
        for n, (fault, random) in enumerate(self._faults):
            if not fault.start_s <= seconds < fault.end_s or self._left[n] == 0:
                continue
            if fault.servos is not None and (id is None or id not in fault.servos):
                continue
            if random.random() >= fault.rate:
                continue
            changed = [piece for each in out for piece in self._apply(fault, random, each)]
            if changed != out:
                out = changed
                self.counts[fault.kind] = self.counts.get(fault.kind, 0) + 1
                left = self._left[n]
                self._left[n] = None if left is None else left - 1
        return out

    def _apply(self, fault: Fault, random: Random, piece: Passed) -> list[Passed]:
        late_ns = round(fault.by_s * 1e9)
        match fault.kind:
            case "drop":
                return []
            case "duplicate":
                return [piece, piece]
            case "delay":
                return [Passed(piece.data, piece.late_ns + late_ns, True)]
            case "reorder":
                return [Passed(piece.data, piece.late_ns + late_ns)]
            case _ if not piece.data:  # truncated to nothing before
                return [piece]
            case kind:
                return [Passed(self._damaged(kind, random, piece.data), piece.late_ns, piece.holds)]

    def _damaged(self, kind: str, random: Random, frame: bytes) -> bytes:
        data = bytearray(frame)
        if kind == "garbage":
            return random.randbytes(random.randint(1, _NOISE_BYTES)) + frame
        if kind == "truncate":
            return frame[: random.randrange(len(frame))]
        if kind == "flip":
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        elif kind == "sum":
            data[-1] = (data[-1] + random.randint(1, 255)) & 0xFF
        elif kind == "id" and len(data) > 4:
            data[2] = (data[2] + random.randint(1, 253)) % 254
            data[-1] = ~sum(data[2:-1]) & 0xFF
        elif kind == "swap":
            first, last = (5, len(data) - 2) if self._feetech else (0, len(data) - 1)
            pairs = [at for at in range(first, last) if data[at] != data[at + 1]]
            if pairs:
                at = random.choice(pairs)
                data[at], data[at + 1] = data[at + 1], data[at]
        return bytes(data)
