"""The STS3215 memory table: where each register is, who may write it, and its factory value."""

from __future__ import annotations

from dataclasses import dataclass

TICKS_PER_TURN = 4096
EEPROM_END = 40
"""Addresses below keep their value over a power cycle, if Lock was 0 when they were written."""


@dataclass(frozen=True)
class Register:
    """One register: `size` bytes little-endian at `address`, sign-magnitude if it has a `sign_bit`."""

    address: int
    size: int
    factory: int = 0
    writable: bool = True
    sign_bit: int | None = None


REGISTERS = {
    "firmware_major": Register(0, 1, 3, writable=False),
    "firmware_minor": Register(1, 1, 10, writable=False),
    "model_number": Register(3, 2, 777, writable=False),
    "id": Register(5, 1, 1),
    "baud_rate": Register(6, 1),
    "return_delay": Register(7, 1, 250),
    "response_level": Register(8, 1, 1),
    "min_position_limit": Register(9, 2),
    "max_position_limit": Register(11, 2, TICKS_PER_TURN - 1),
    "max_temperature": Register(13, 1, 70),
    "max_voltage": Register(14, 1, 140),
    "min_voltage": Register(15, 1, 40),
    "max_torque": Register(16, 2, 1000),
    "phase": Register(18, 1, 12),
    "unloading_condition": Register(19, 1, 44),
    "led_alarm_condition": Register(20, 1, 47),
    "p_coefficient": Register(21, 1, 32),
    "d_coefficient": Register(22, 1, 32),
    "i_coefficient": Register(23, 1),
    "minimum_startup_force": Register(24, 2, 16),
    "cw_dead_zone": Register(26, 1, 1),
    "ccw_dead_zone": Register(27, 1, 1),
    "protection_current": Register(28, 2, 500),
    "angular_resolution": Register(30, 1, 1),
    "homing_offset": Register(31, 2, sign_bit=11),
    "operating_mode": Register(33, 1),
    "protective_torque": Register(34, 1, 20),
    "protection_time": Register(35, 1, 200),
    "overload_torque": Register(36, 1, 80),
    "velocity_p_coefficient": Register(37, 1, 10),
    "overcurrent_time": Register(38, 1, 200),
    "velocity_i_coefficient": Register(39, 1, 10),
    "torque_enable": Register(40, 1),
    "acceleration": Register(41, 1),
    "goal_position": Register(42, 2, sign_bit=15),
    "goal_time": Register(44, 2),
    "goal_velocity": Register(46, 2, sign_bit=15),
    "torque_limit": Register(48, 2, 1000),
    "lock": Register(55, 1, 1),
    "present_position": Register(56, 2, writable=False, sign_bit=15),
    "present_velocity": Register(58, 2, writable=False, sign_bit=15),
    "present_load": Register(60, 2, writable=False, sign_bit=10),
    "present_voltage": Register(62, 1, 120, writable=False),
    "present_temperature": Register(63, 1, 30, writable=False),
    "action_pending": Register(64, 1, writable=False),
    "status": Register(65, 1, writable=False),
    "moving": Register(66, 1, writable=False),
    "present_current": Register(69, 2, writable=False, sign_bit=15),
}

READ_ONLY = frozenset(
    address
    for register in REGISTERS.values()
    if not register.writable
    for address in range(register.address, register.address + register.size)
)
"""Bytes a write passes over without effect."""

BAUD_RATES = (1_000_000, 500_000, 250_000, 128_000, 115_200, 76_800, 57_600, 38_400)
"""Bits a second by the value of the baud_rate register."""
