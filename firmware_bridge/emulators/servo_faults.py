"""Faults that happen to servos: when they begin, and when they are over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from firmware_bridge.emulators.block import ServoBlock
from firmware_bridge.emulators.faults import Fault
from firmware_bridge.emulators.servo import Servo

_BITS = {"voltage": 0x01, "overheat": 0x04, "overcurrent": 0x08, "overload": 0x20}
_FLAGS = {"missing": "deaf", "mute": "mute", "stale": "frozen", "twin": "twin"}


class ServoFaults:
    """Does to servos what a plan says, as time goes on.

    Args:
        faults: Of `SERVO_KINDS`.
        servos: Those it may happen to.
        block: Where it is counted.
        start_ns: When the plan's time begins.
    """

    def __init__(self, faults: Sequence[Fault], servos: Sequence[Servo], block: ServoBlock, start_ns: int) -> None:
        self._block = block
        self._due: list[tuple[int, Callable[[], None]]] = []
        for fault in faults:
            chosen = [servo for servo in servos if fault.concerns(servo.id)]
            self._at(start_ns, fault.start_s, self._begin, fault, chosen)
            self._at(start_ns, fault.until_s, self._end, fault, chosen)
        self._due.sort(key=lambda due: due[0])

    @property
    def next_ns(self) -> int | None:
        """When something happens next; None when all is over."""
        return self._due[0][0] if self._due else None

    def advance(self, now_ns: int) -> None:
        """Does what is due."""
        while self._due and self._due[0][0] <= now_ns:
            self._due.pop(0)[1]()

    def _at(
        self,
        start_ns: int,
        seconds: float,
        do: Callable[[Fault, Sequence[Servo]], None],
        fault: Fault,
        servos: Sequence[Servo],
    ) -> None:
        if seconds != float("inf"):
            self._due.append((start_ns + round(seconds * 1e9), lambda: do(fault, servos)))

    def _begin(self, fault: Fault, servos: Sequence[Servo]) -> None:
        for servo in servos:
            self._block.count_injected(fault.kind)
            if fault.kind in _BITS:
                servo.trip(_BITS[fault.kind])
            elif fault.kind == "brownout":
                servo.power_off()
            else:
                setattr(servo, _FLAGS[fault.kind], True)

    def _end(self, fault: Fault, servos: Sequence[Servo]) -> None:
        for servo in servos:
            if fault.kind in _BITS:
                servo.recover(_BITS[fault.kind])
            elif fault.kind == "brownout":
                servo.deaf = False
                servo.power_cycle()
            else:
                setattr(servo, _FLAGS[fault.kind], False)
