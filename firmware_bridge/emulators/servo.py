"""One STS3215: its registers, and what writing them does."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from firmware_bridge._feetech import from_sign_magnitude, to_sign_magnitude
from firmware_bridge.emulators.block import ServoBlock
from firmware_bridge.emulators.registers import BAUD_RATES, EEPROM_END, READ_ONLY, REGISTERS

_TABLE_BYTES = 256
_OVERLOAD = 0x20
_PROTECTION_UNIT_NS = 10_000_000


class Servo:
    """Servo `index` of a block, as the registers show it.

    Args:
        block: Where goals go to and measurements come from.
        index: Which servo of the block. If its torque is on there, it was left holding its goal.
        stored: EEPROM registers by name that differ from the factory's, as an earlier client stored them.

    Attributes:
        deaf: Fault: it is not there, or has no power.
        mute: Fault: it hears and never answers.
        frozen: Fault: it measures nothing anew.
        twin: Fault: another servo with its id answers whenever it does.
    """

    def __init__(self, block: ServoBlock, index: int, stored: Mapping[str, int] = MappingProxyType({})) -> None:
        self._block, self._index = block, index
        self._table = bytearray(_TABLE_BYTES)
        for name, register in REGISTERS.items():
            self._poke(name, register.factory)
        self._poke("id", block.ids[index])
        for name, value in stored.items():
            self._poke(name, value)
        self._eeprom = bytes(self._table[:EEPROM_END])
        self._pending: tuple[int, bytes] | None = None
        self._overloaded_since_ns: int | None = None
        self.deaf = self.mute = self.frozen = self.twin = False
        goal, torque = int(block.goal[index]), int(block.torque[index])
        self.power_cycle()
        if torque:
            self._poke("goal_position", goal)
            self._poke("torque_enable", torque)
            self._apply()

    def __getitem__(self, name: str) -> int:
        """Value of a register by its name."""
        register = REGISTERS[name]
        if not register.writable:
            self._measure()
        word = int.from_bytes(self._table[register.address : register.address + register.size], "little")
        return word if register.sign_bit is None else from_sign_magnitude(word, register.sign_bit)

    @property
    def id(self) -> int:
        """Bus id this servo answers to."""
        return self._table[REGISTERS["id"].address]

    @property
    def baud(self) -> int:
        """Bits a second this servo listens at."""
        return BAUD_RATES[self._table[REGISTERS["baud_rate"].address] % len(BAUD_RATES)]

    @property
    def acknowledges(self) -> bool:
        """Whether writes to this servo alone are answered."""
        return bool(self._table[REGISTERS["response_level"].address])

    @property
    def status(self) -> int:
        """Error bits of every reply."""
        return int(self._block.status[self._index])

    @property
    def silent(self) -> bool:
        """A fault keeps this servo from answering."""
        return self.mute or bool(self._block.silent[self._index])

    @property
    def return_delay_ns(self) -> int:
        """Time from the end of a request to the start of the reply."""
        return max(1, self._table[REGISTERS["return_delay"].address]) * 2_000

    def power_cycle(self) -> None:
        """Switches off and on: EEPROM comes back as it was saved, torque is off, the goal is where the servo stands."""
        for name, register in REGISTERS.items():
            self._poke(name, register.factory)
        self._table[:EEPROM_END] = self._eeprom
        self._pending = None
        self._overloaded_since_ns = None
        self._block.status[self._index] &= ~_OVERLOAD
        self._poke("torque_limit", self["max_torque"])
        self._poke("goal_position", self["present_position"])
        self._apply()

    def power_off(self) -> None:
        """The motor lets go; nothing is heard until `power_cycle` and `deaf` are undone."""
        self.deaf = True
        self._block.torque[self._index] = 0

    def protect(self, now_ns: int) -> None:
        """Shuts off once the load has been above Overload_Torque for Protection_Time, both by its registers.

        The tables say that Protective_Torque is left then. Here nothing is, which is what an arm has to survive.
        """
        load = abs(int(self._block.load[self._index]))
        guarded = self._table[19] & _OVERLOAD and self._block.torque[self._index] == 1 and not self.deaf
        if not guarded or self.status & _OVERLOAD or load < self._table[36] * 10:
            self._overloaded_since_ns = None
        elif self._overloaded_since_ns is None:
            self._overloaded_since_ns = now_ns
        elif now_ns - self._overloaded_since_ns >= self._table[35] * _PROTECTION_UNIT_NS:
            self.trip(_OVERLOAD)

    def trip(self, bits: int) -> None:
        """Error bits appear; overload stays until torque is enabled again."""
        self._block.status[self._index] |= bits

    def recover(self, bits: int) -> None:
        """The cause of error bits is gone."""
        self._block.status[self._index] &= ~bits

    def read(self, address: int, length: int) -> bytes:
        """Bytes as the servo sends them; beyond the table it sends zeros."""
        self._measure()
        return bytes(self._table[address : address + length]).ljust(length, b"\0")

    def write(self, address: int, data: bytes) -> None:
        """Writes bytes; what is read-only or outside the table stays as it is.

        EEPROM registers take effect at once, but are kept over a power cycle only if Lock was 0. A goal switches torque
        on, whatever it was before: users of these servos report it.
        """
        unlocked = self["lock"] == 0
        for at, byte in enumerate(data, address):
            if at < _TABLE_BYTES and at not in READ_ONLY:
                self._table[at] = byte
                if unlocked and at < EEPROM_END:
                    self._eeprom = self._eeprom[:at] + bytes((byte,)) + self._eeprom[at + 1 :]
        goal = REGISTERS["goal_position"].address
        if address <= goal + 1 and goal < address + len(data):
            self._table[40] = 1
        torque = REGISTERS["torque_enable"].address
        if address <= torque < address + len(data) and self._table[torque] == 1:
            self._block.status[self._index] &= ~_OVERLOAD  # enabling torque is how a client leaves the shut-off
        self._apply()

    def reg_write(self, address: int, data: bytes) -> None:
        """Keeps a write until `action`."""
        self._pending = address, data

    def action(self) -> None:
        """Does the kept write, if there is one."""
        if self._pending is not None:
            self.write(*self._pending)
            self._pending = None

    def _poke(self, name: str, value: int) -> None:
        register = REGISTERS[name]
        word = value if register.sign_bit is None else to_sign_magnitude(value, register.sign_bit)
        self._table[register.address : register.address + register.size] = word.to_bytes(register.size, "little")

    def _measure(self) -> None:
        self._poke("status", self.status)
        self._poke("action_pending", self._pending is not None)
        if self.frozen:
            return
        block, index = self._block, self._index
        table = self._table
        offset = from_sign_magnitude(table[31] | table[32] << 8, 11)
        self._poke("present_position", int(block.position[index]) - offset)
        self._poke("present_velocity", int(block.velocity[index]))
        self._poke("present_load", int(block.load[index]))
        self._poke("present_current", int(block.load[index]) // 2)
        self._poke("moving", int(block.moving[index]))

    def _apply(self) -> None:
        block, index = self._block, self._index
        goal, lower, upper = self["goal_position"], self["min_position_limit"], self["max_position_limit"]
        if lower or upper:  # both 0: many turns, no limit
            goal = min(max(goal, lower), upper)
        block.goal[index] = goal + self["homing_offset"]
        block.torque[index] = self["torque_enable"]
        block.torque_limit[index] = min(self["torque_limit"], self["max_torque"])
        block.goal_velocity[index] = abs(self["goal_velocity"])
        block.acceleration[index] = self["acceleration"]
