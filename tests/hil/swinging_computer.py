"""A computer that arms whatever is behind a bridge port and swings it, for tests that stop it.

    python swinging_computer.py PORT LICENCE

While the file LICENCE is there it arms anew what a busy machine let stop. Without it, it only goes on commanding,
whether the arm runs or not, as a program with a bug would.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edge.arm import SO101
from firmware_bridge.arm_table import arm_table
from hil.computer import IDLE, STOPPED, Computer

SWING_TICKS, HALF_SWING = 200, 250
"""The way of the first joint, and the states in which it is sent to one side."""


def main() -> None:
    table = arm_table(json.loads(SO101.read_text("utf-8")))
    computer = Computer(sys.argv[1], table)
    computer.next_state()
    computer.hello()
    middle, first = list(computer.arm().positions), table.joints[0]
    here = first.encoder(middle[0])
    licence = Path(sys.argv[2])
    for count in itertools.count():
        side = SWING_TICKS if count // HALF_SWING % 2 == 0 else -SWING_TICKS
        computer.command([first.position(here + side), *middle[1:]])
        if computer.next_state().arm in (IDLE, STOPPED) and licence.exists():
            computer.clear()


if __name__ == "__main__":
    main()
