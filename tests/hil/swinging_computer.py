"""A computer that arms whatever is behind a bridge port once and swings it, come what may, for tests that stop it.

    python swinging_computer.py PORT

Says "swings" when the arm runs. When the arm does not run any more it goes on commanding, as a program with a bug would.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from edge.arm import SO101
from firmware_bridge.arm_table import arm_table
from hil.computer import RUNNING, Computer

SWING_TICKS, HALF_SWING = 200, 250
"""The way of the first joint, and the states in which it is sent to one side."""


def main() -> None:
    table = arm_table(json.loads(SO101.read_text("utf-8")))
    computer = Computer(sys.argv[1], table)
    computer.next_state()
    computer.hello()
    state = computer.arm()
    middle, first = list(state.positions), table.joints[0]
    here = first.encoder(middle[0])
    said = False
    for count in range(1_000_000):
        side = SWING_TICKS if count // HALF_SWING % 2 == 0 else -SWING_TICKS
        computer.command([first.position(here + side), *middle[1:]])
        if computer.next_state().arm == RUNNING and not said:
            said = True
            print("swings", flush=True)


if __name__ == "__main__":
    main()
