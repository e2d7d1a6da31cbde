"""python -m firmware_bridge.emulators so101: an arm's servos on a pty, for any Feetech client."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from pathlib import Path

from firmware_bridge.emulators.kinematics import KinematicServos
from firmware_bridge.emulators.process import SO101_IDS, BusProcess

_PERIOD_S = 0.004


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m firmware_bridge.emulators",
        description="Emulates the servos of an arm on a pty: Feetech STS protocol, 1 Mbps. They carry nothing.",
    )
    parser.add_argument("arm", choices=("so101",), help="which arm: six STS3215 with ids 1 to 6")
    parser.add_argument("--link", type=Path, help="also make this symbolic link to the pty, e.g. /tmp/so101")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the link is removed
    with BusProcess(SO101_IDS, link=arguments.link) as bus, contextlib.suppress(KeyboardInterrupt):
        print(
            f"servos {', '.join(map(str, SO101_IDS))} on {arguments.link or bus.port} at 1 Mbps; Ctrl-C ends",
            flush=True,
        )
        servos = KinematicServos(bus.block)
        due = time.monotonic()
        while True:
            servos.step(_PERIOD_S)
            due += _PERIOD_S
            time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main()
