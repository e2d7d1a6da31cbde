"""The loop on a fixed course, by the machine that runs this: what it commands, and where that puts the gripper.

python tests/aarch64/step.py OURS.npz                       writes both
python tests/aarch64/step.py OURS.npz --against THEIRS.npz  and compares them with another machine's
"""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from native_arm import ARM, MS, PERIOD, Bench, chunk  # noqa: E402

CHUNKS = 40
REACH = 0.6
"""How far from the middle of its range a joint is asked to go; 1 is to the limit."""


def course() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Every commanded position, (steps, 6), and the pinch frame's pose there, (steps, 7)."""
    bench = Bench().ready()
    random = np.random.default_rng(7)
    middle, half = (ARM.upper + ARM.lower) / 2, (ARM.upper - ARM.lower) / 2
    for _ in range(CHUNKS):
        goal = middle + REACH * half * random.uniform(-1, 1, 6)
        way = bench.measured + np.linspace(0, 1, 17)[1:, None] * (goal - bench.measured)
        offer = bench.loop.offer(chunk(bench.now, way + 0.03 * half * random.uniform(-1, 1, (16, 6))))
        if not offer:
            raise SystemExit(f"expected the loop to take the chunk, got: {offer.reason}")
        bench.step(8 * PERIOD // MS)
    commands = bench.track
    return commands, np.asarray([ARM.forward(command) for command in commands])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--against", type=Path)
    arguments = parser.parse_args()
    commands, poses = course()
    if np.ptp(commands, axis=0).min() < 0.1:
        raise SystemExit("expected every joint to move on the course, and one stood still")
    np.savez(arguments.out, commands=commands, poses=poses)
    print(f"{platform.machine()}: {len(commands)} steps, the last one {commands[-1].round(4).tolist()}")
    if arguments.against is None:
        return
    theirs = np.load(arguments.against)
    differing = int(np.any(commands != theirs["commands"], axis=1).sum())
    apart = float(np.abs(poses - theirs["poses"]).max())
    print(f"{differing} steps differ; poses at most {apart:.1e} apart")
    # Sine and cosine are the C library's, and only nearly the same everywhere.
    if differing or apart > 1e-12:
        raise SystemExit("expected the same commands bit for bit, and poses within 1e-12")


if __name__ == "__main__":
    main()
