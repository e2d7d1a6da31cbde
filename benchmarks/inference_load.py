"""Keeps one core busy with what a robot computes: the bundle's planner and policy, one after the other, for ever.

    python benchmarks/inference_load.py models/reference --cpu 1      (Ctrl-D ends it)

Every line on standard input is answered with how many calls and chunks were computed so far.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edge import manifest
from edge.planner.planner import Budget, Planner
from edge.policy.policy import CAMERAS, Policy
from edge.tabletop import API
from edge.types import JOINTS, Frame, Observation

TASK = "swap the red cube and the green cube"
CHUNKS_A_CALL = 20
"""About what a run does: a call lasts some seconds, and a chunk is computed every 0.4 s."""
PATIENT = Budget(milliseconds=600_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="?", default=Path("models/reference"))
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)), help="the core (default: the last)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise that it looks at")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.cpu})
    bundle = manifest.load(options.bundle)
    parts, size = bundle.manifest.planner, bundle.manifest.images.planner
    assert parts is not None, f"{options.bundle} has no planner"
    files = bundle.file(parts.model), bundle.file(parts.projector)
    image = np.random.default_rng(options.seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    observation = Observation(0, {name: Frame(name, image, 0) for name in CAMERAS}, np.zeros(len(JOINTS)))
    tokens = API.encode(API.parse('pick("red cube")'))
    policy = Policy.load(bundle, API, threads=1)
    calls = chunks = 0
    with Planner(API, *files, image_size=size, threads=1, budget=PATIENT) as planner:
        while True:
            while select.select([sys.stdin], [], [], 0)[0]:
                if not os.read(sys.stdin.fileno(), 1):
                    return
                print(calls, chunks, flush=True)
            if chunks % CHUNKS_A_CALL == 0:
                planner.next_call(image, TASK)
                calls += 1
            policy.infer(observation, tokens, None)
            chunks += 1


if __name__ == "__main__":
    main()
