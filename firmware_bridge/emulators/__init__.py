"""Devices that are not there: a bus of Feetech STS3215 servos on a pty, no kinder than the real one.

ServoBus(block)        pure: bytes and a clock in, bytes out
BusProcess(ids)        the bus in a process of its own, on a pty; `port` is what a client opens
ServoBlock             what servos and physics tell each other; physics may run in any process
KinematicServos(block) physics for when there is none: goal followed with a speed limit

python -m firmware_bridge.emulators so101
"""

from __future__ import annotations

from firmware_bridge.emulators.block import ServoBlock
from firmware_bridge.emulators.bus import ServoBus
from firmware_bridge.emulators.kinematics import KinematicServos
from firmware_bridge.emulators.process import BusProcess

__all__ = ["BusProcess", "KinematicServos", "ServoBlock", "ServoBus"]
