"""The success table: every part alone and all together, on the same held-out scenes, from the exported bundle.

    python -m learning.evaluate --bundle models/reference --episodes 100 --out docs/results.json

Cells:
    both              learned planner and learned policy
    both-no-memory    the same; the planner sees no transcript and the policy no remembered place
    planner           learned planner, the oracle's hands
    policy            the oracle's plan, learned policy
    flat              one policy from task text straight to actions (needs its checkpoint)
    oracle            the oracle's plan and hands: what the scenes allow (`--cells oracle --episodes 300`)
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from edge.api import Call, Transcript
from edge.errors import EdgeError
from edge.planner.planner import Budget
from edge.tabletop import API
from export.staging import write_whole
from learning.intervals import wilson
from learning.lockstep import LockStep, OracleArm, Pace, Plan, Result, Rig, run_flat
from learning.sim.scene import Scene
from learning.tasks import KINDS, PICTURE_ONLY, Items, Task, next_call, pair_is_held_out, sample

MAIN = ("pick", "put", "stack", "swap")
CELLS: dict[str, tuple[str, ...]] = {
    "both": MAIN,
    "both-no-memory": ("swap",),
    "planner": (*MAIN, *PICTURE_ONLY),
    "policy": MAIN,
    "flat": MAIN,
    "oracle": KINDS,
}
SCENE_SEED = 90_000
"""Held-out scenes: training draws from seeds below."""
UNHURRIED = Budget(milliseconds=math.inf)
"""What a planner answers must not depend on how busy the machine is; the limit of tokens ends every answer."""
FLAT_LIMIT_S = {"pick": 10.0, "put": 16.0, "stack": 16.0, "swap": 45.0}


@dataclass(frozen=True)
class Trial:
    """One episode to run: what, where, and with which of the held-out things."""

    cell: str
    kind: str
    index: int

    def scene(self) -> tuple[Scene, Task]:
        """Same scenes for every cell. Every fourth episode uses a held-out phrasing."""
        rng = np.random.default_rng([SCENE_SEED, KINDS.index(self.kind), self.index])
        return sample(self.kind, rng, held_out=self.index % 4 == 3)


@dataclass(frozen=True)
class Score:
    """Outcome of one trial, as stored."""

    cell: str
    kind: str
    index: int
    success: bool
    held_out_phrasing: bool
    held_out_pair: bool
    seconds: float
    reason: str
    calls: tuple[str, ...]


def _runner(cell: str, bundle_path: Path, flat: Path | None) -> Callable[[Scene, Task], Result]:
    """How episodes of a cell are run. Opens only what the cell needs."""
    if cell == "oracle":
        hands = OracleArm()
        return lambda scene, task: hands.run(scene, task, _program)
    from edge.manifest import load
    from edge.planner.planner import Planner
    from edge.policy.policy import Policy

    if cell == "flat":
        from learning.policy.flat import FlatPolicy

        assert flat is not None, "the flat cell needs --flat"
        policy, rig = FlatPolicy(flat), Rig()

        def follow(scene: Scene, task: Task) -> Result:
            policy.task = task.text
            return run_flat(rig, scene, task, policy.act, FLAT_LIMIT_S[task.kind])

        return follow
    bundle = load(bundle_path)
    bundle.verify()
    plan: Plan = _program
    if cell in ("both", "both-no-memory", "planner"):
        parts = bundle.manifest.planner
        assert parts is not None, "this bundle has no planner"
        planner = Planner(
            API, bundle.file(parts.model), bundle.file(parts.projector), image_size=bundle.manifest.images.planner,
            budget=UNHURRIED,
        )  # fmt: skip
        plan = lambda image, task, items, transcript: planner.next_call(image, task.text, tuple(transcript)).call  # noqa: E731
    if cell == "planner":
        arm = OracleArm()
        return lambda scene, task: arm.run(scene, task, plan)
    manifest = bundle.manifest
    lockstep = LockStep(
        Policy.load(bundle, API), pace=Pace(every=manifest.rates.replan_every), remember=cell != "both-no-memory",
        numbers=manifest.monitor, ready=manifest.ready,
    )  # fmt: skip
    return lambda scene, task: lockstep.run(scene, task, plan)


def _program(image: NDArray[np.uint8], task: Task, items: Items, transcript: Transcript) -> Call:
    """The oracle's plan, which knows where things are."""
    return next_call(task, items, transcript)


def _run_share(trials: list[Trial], bundle: Path, flat: Path | None) -> list[Score]:
    """One worker's share of one cell."""
    run = _runner(trials[0].cell, bundle, flat)
    scores = []
    for trial in trials:
        scene, task = trial.scene()
        result = run(scene, task)
        calls = tuple(f"{call} -> {outcome.value}" for call, outcome in result.entries)
        held_out = (trial.index % 4 == 3, pair_is_held_out(task))
        scores.append(
            Score(trial.cell, trial.kind, trial.index, result.success, *held_out, result.seconds, result.reason, calls)
        )
    return scores


def evaluate(
    bundle: Path,
    cells: list[str],
    episodes: int,
    flat: Path | None,
    workers: int,
    first: int = 0,
    keep: Callable[[list[Score]], None] = lambda scores: None,
) -> list[Score]:
    """Run every trial of the chosen cells; the order of scores does not depend on the number of workers.

    `keep` is given all scores there are whenever more have come, so that an hour's work outlives what fails later.
    """
    shares: list[list[Trial]] = []
    for cell in cells:
        trials = [Trial(cell, kind, index) for kind in CELLS[cell] for index in range(first, first + episodes)]
        shares += [trials[start : start + 20] for start in range(0, len(trials), 20)]
    scores: list[Score] = []
    fresh = multiprocessing.get_context("spawn")  # a forked worker inherits locks of threads that it has not
    with ProcessPoolExecutor(workers, fresh) as pool, Progress() as progress:
        bar = progress.add_task("episodes", total=sum(map(len, shares)))
        for share in [pool.submit(_run_share, share, bundle, flat) for share in shares]:
            scores += share.result()
            keep(scores)
            progress.update(bar, completed=len(scores))
    return scores


def table(scores: list[Score], cells: list[str]) -> Table:
    """Success per cell and task with 95 % intervals, held-out phrasings and pairs apart."""
    view = Table("cell", "task", "success", "95 %", "held-out phrasing", "held-out pair", "median s")
    for cell in cells:
        for kind in CELLS[cell]:
            rows = [s for s in scores if (s.cell, s.kind) == (cell, kind)]
            if not rows:
                continue
            low, high = wilson(sum(s.success for s in rows), len(rows))
            parts = [[s.success for s in rows if test(s)] for test in (_all, _phrasing, _pair)]
            shown = [f"{sum(part)}/{len(part)}" if part else "" for part in parts]
            seconds = f"{np.median([s.seconds for s in rows]):.1f}"
            view.add_row(cell, kind, shown[0], f"{100 * low:.0f}–{100 * high:.0f} %", shown[1], shown[2], seconds)
    return view


def write(path: Path, scores: list[Score]) -> None:
    """Every episode as JSON; what was there stays until more is whole.

    Raises:
        ExportError: It cannot be written.
    """
    write_whole(path, json.dumps([asdict(score) for score in scores], indent=1) + "\n")


def _all(score: Score) -> bool:
    return True


def _phrasing(score: Score) -> bool:
    return score.held_out_phrasing


def _pair(score: Score) -> bool:
    return score.held_out_pair


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m learning.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=Path("models/reference"), help="(default: %(default)s)")
    parser.add_argument(
        "--cells", default="both,both-no-memory,planner,policy", help="which rows, by comma (default: %(default)s)"
    )
    parser.add_argument("--episodes", type=int, default=100, help="scenes per task and cell (default: %(default)s)")
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first scene; choose with others than you report"
    )
    parser.add_argument("--flat", type=Path, help="checkpoint directory of the flat policy")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: every core)")
    parser.add_argument("--out", type=Path, help="write every episode as JSON, as they are done")
    args = parser.parse_args(arguments)
    cells = args.cells.split(",")
    if unknown := [cell for cell in cells if cell not in CELLS]:
        parser.error(f"unknown cell {unknown[0]!r}; one of {', '.join(CELLS)}")
    if "flat" in cells and args.flat is None:
        parser.error("the flat cell needs --flat DIRECTORY with flat.pt; train it: python -m learning.policy flat")
    keep = (lambda scores: None) if args.out is None else (lambda scores: write(args.out, scores))
    try:
        scores = evaluate(args.bundle, cells, args.episodes, args.flat, args.workers, args.first, keep)
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    Console().print(table(scores, cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
