"""python -m learning.sim serve: an emulated SO-101 with its servos on a pty and its cameras on http."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from learning.arguments import check_least
from learning.sim.serve import serve
from learning.sim.spec import DeviceSpec
from learning.tasks import KINDS, sample


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m learning.sim", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    served = commands.add_parser(
        "serve",
        help="run the machine in real time",
        description="Prints one JSON line with the port and the camera addresses, then answers each line `state` or "
        "`judge` with one JSON line. `quit`, or the end of its standard input, ends it.",
    )
    served.add_argument("--kind", choices=KINDS, default="put", help="what the random scene is for (default: put)")
    served.add_argument("--seed", type=int, default=0, help="which random scene (default: 0)")
    served.add_argument("--camera-hz", type=float, default=25.0, help="frames a second of each camera (default: 25)")
    served.add_argument(
        "--spec", help="a file with a DeviceSpec in JSON instead of a random scene; - is standard input"
    )
    arguments = parser.parse_args(argv)
    check_least(parser, arguments, seed=0)
    if arguments.spec is None:
        scene, task = sample(arguments.kind, np.random.default_rng(arguments.seed))
        serve(DeviceSpec(scene, task, arguments.camera_hz))
    elif arguments.spec == "-":
        serve(DeviceSpec.from_json(sys.stdin.readline()))
    else:
        serve(DeviceSpec.from_json(Path(arguments.spec).read_text()))


if __name__ == "__main__":
    main()
