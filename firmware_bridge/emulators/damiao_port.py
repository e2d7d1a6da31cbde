"""Damiao motors behind an emulated slcan adapter: a CAN arm on a pty."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from firmware_bridge.emulators.can_bus import CanBus
from firmware_bridge.emulators.damiao import DamiaoMotors, MotorSetting, bench_arm
from firmware_bridge.emulators.slcan import SlcanAdapter
from firmware_bridge.emulators.slcan_ports import SlcanPorts


class DamiaoPort:
    """Motors on a bus with one adapter, served until it is closed. Use as a context manager, or call `close`.

    Args:
        settings: One a motor; by default six as in the example description.
        style: Whose firmware the adapter behaves like.
        link: Also make this symbolic link to the pty.

    Attributes:
        motors: Faults may be set on them while they are served; `adapter` too.
        port: What a client opens.
    """

    def __init__(
        self, settings: Sequence[MotorSetting] | None = None, style: str = "canable", link: Path | None = None
    ) -> None:
        self.bus = CanBus()
        self.motors = DamiaoMotors(self.bus, bench_arm() if settings is None else settings)
        self.adapter = SlcanAdapter(self.bus, style)
        self._served = SlcanPorts(self.bus, (self.adapter,), () if link is None else (link,))

    @property
    def port(self) -> str:
        return self._served.ports[0]

    def look(self) -> list[float]:
        """Where the motors are now, rad."""
        for motor in self.motors.motors:
            motor.advance(time.monotonic_ns())
        return self.motors.positions

    def unplug(self) -> None:
        """Pulls the adapter's cable out of the computer."""
        self._served.unplug(0)

    def plug_in(self) -> None:
        """Puts it back; `port` may be another one."""
        self._served.plug_in(0)

    def close(self) -> None:
        self._served.close()

    def __enter__(self) -> DamiaoPort:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
