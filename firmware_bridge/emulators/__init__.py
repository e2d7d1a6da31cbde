"""Devices that are not there: Feetech STS3215 servos, Damiao motors, slcan adapters; on ptys, no kinder than real.

ServoBus(block)        pure: bytes and a clock in, bytes out
BusProcess(ids)        the bus in a process of its own, on a pty; `port` is what a client opens
ServoBlock             what servos and physics tell each other; physics may run in any process
KinematicServos(block) physics for when there is none: goal followed with a speed limit

Mcu(table, bus)        pure: the bridge microcontroller on a virtual clock, with such servos behind it
McuProcess()           one in a process of its own; `port` speaks the bridge protocol
HostFirmware(program)  no emulator: the firmware itself as a process, between a servo bus and a computer

FaultPlan, Fault       what goes wrong, when and how often; the same for tests, command line and line
FaultyLine(plan, way)  pure: one direction of a line on which it does
FaultyPort(port, plan) such a line on a pty, in front of a port

CanBus()               pure: one frame at a time, the lowest identifier first
SlcanAdapter(bus)      pure: an adapter between a serial line and a bus
SlcanPorts(bus, ...)   adapters on ptys, served by a thread
DamiaoMotors(bus, ...) pure: CAN motors in MIT mode
DamiaoPort()           such motors behind an adapter on a pty; `port` is what a client opens

python -m firmware_bridge.emulators so101 --fault drop=0.01 --fault overload=3@5s
python -m firmware_bridge.emulators line /dev/ttyACM0 --fault flip=0.1%,replies
python -m firmware_bridge.emulators mcu --fault missing=3@5s-6s
python -m firmware_bridge.emulators slcan
python -m firmware_bridge.emulators damiao
"""

from __future__ import annotations

from firmware_bridge.emulators.block import ServoBlock
from firmware_bridge.emulators.bus import ServoBus
from firmware_bridge.emulators.can_bus import CanBus, CanFrame, EchoNode
from firmware_bridge.emulators.damiao import DamiaoMotors, MotorSetting, bench_arm
from firmware_bridge.emulators.damiao_port import DamiaoPort
from firmware_bridge.emulators.faults import Fault, FaultError, FaultPlan
from firmware_bridge.emulators.faulty_line import FaultyLine
from firmware_bridge.emulators.faulty_port import FaultyPort
from firmware_bridge.emulators.host_firmware import HostFirmware, build_host_firmware
from firmware_bridge.emulators.kinematics import KinematicServos
from firmware_bridge.emulators.mcu import Mcu
from firmware_bridge.emulators.mcu_process import McuProcess
from firmware_bridge.emulators.process import BusProcess
from firmware_bridge.emulators.slcan import SlcanAdapter
from firmware_bridge.emulators.slcan_ports import SlcanPorts

__all__ = [
    "BusProcess",
    "CanBus",
    "CanFrame",
    "DamiaoMotors",
    "DamiaoPort",
    "EchoNode",
    "Fault",
    "FaultError",
    "FaultPlan",
    "FaultyLine",
    "FaultyPort",
    "HostFirmware",
    "KinematicServos",
    "Mcu",
    "McuProcess",
    "MotorSetting",
    "ServoBlock",
    "ServoBus",
    "SlcanAdapter",
    "SlcanPorts",
    "bench_arm",
    "build_host_firmware",
]
