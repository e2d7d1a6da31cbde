"""Demonstrations: the oracle does tasks, every step labelled with the call it belongs to.

`python -m learning.demonstrations --out data/tabletop --episodes 1600 --seed 0`
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from edge.api import Call, Outcome
from edge.errors import EdgeError
from edge.policy.transforms import goal_vector
from edge.tabletop import API
from export.staging import swap_in
from learning.arguments import check_least
from learning.dataset import DatasetError, DatasetWriter, Episode, finish
from learning.sim.hands import CLOSED, GRASP_REACH_M, OPEN, OracleHands
from learning.sim.scene import Scene, reachable
from learning.sim.world import World
from learning.tasks import Task, next_call, pair_is_held_out, sample

KIND_SHARE = {"put": 0.34, "stack": 0.26, "swap": 0.20, "restore": 0.12, "move": 0.08}

NOISE_RAD, NOISE_MEMORY = 0.012, 0.85
"""Disturbance of the executed command (the clean one is recorded): stationary deviation, and its memory from step to
step. It teaches recovery; more than 0.016 rad costs successes."""

STRAY_SHARE = 0.35
"""Share of picks that begin away from the ready pose, gripper open or closed on nothing, as after a missed grasp."""


@dataclass
class _Recording:
    """Columns of an episode in the making."""

    state: list[NDArray[np.float64]] = field(default_factory=list)
    action: list[NDArray[np.float64]] = field(default_factory=list)
    front: list[NDArray[np.uint8]] = field(default_factory=list)
    wrist: list[NDArray[np.uint8]] = field(default_factory=list)
    call: list[str] = field(default_factory=list)
    hint: list[tuple[int, int]] = field(default_factory=list)
    goal: list[NDArray[np.float32]] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)
    aim: list[list[float]] = field(default_factory=list)
    pixel: list[list[float]] = field(default_factory=list)

    def episode(self, task: str) -> Episode:
        return Episode(
            state=np.array(self.state, np.float32),
            action=np.array(self.action, np.float32),
            front=np.array(self.front),
            wrist=np.array(self.wrist),
            call=tuple(self.call),
            hint=np.array(self.hint, np.int8),
            goal=np.array(self.goal, np.float32),
            finished=np.array(self.finished, np.float32),
            task=task,
            extra={"aim": np.array(self.aim, np.float32), "pixel": np.array(self.pixel, np.float32)},
        )


class Demonstrator:
    """Runs the oracle in one world. `demonstrate` is a pure function of the seed."""

    def __init__(self) -> None:
        self.world = World()
        self.hands = OracleHands(self.world)

    def demonstrate(self, seed: int, index: int) -> Episode | None:
        """One task done and recorded, or None where the oracle, disturbed as it is, failed."""
        rng = np.random.default_rng([seed, index])
        kind = str(rng.choice(list(KIND_SHARE), p=list(KIND_SHARE.values())))
        scene, task = sample(kind, rng)
        while pair_is_held_out(task):
            scene, task = sample(kind, rng)
        return self.record(scene, task, rng)

    def record(self, scene: Scene, task: Task, rng: np.random.Generator) -> Episode | None:
        """Do `task` in `scene` under disturbance."""
        self.world.reset(scene)
        self.hands.places.clear()
        start, transcript = self.world.items(), []
        rows = _Recording()
        while (call := next_call(task, start, transcript)).subtask != "done":
            if call.subtask == "pick" and rng.random() < STRAY_SHARE:
                self._stray(call, rng)
            self._subtask(call, rows, rng)
            if not self._succeeded(call):
                return None
            transcript.append((call, Outcome.OK))
        return rows.episode(task.text)

    def _subtask(self, call: Call, rows: _Recording, rng: np.random.Generator) -> None:
        remembered = self.hands.places.get(call.arguments[0]) if call.subtask == "place_at" else None
        goal, hint = goal_vector(remembered), self._hint(call)
        noise = np.zeros(6)
        spread = NOISE_RAD * np.sqrt(1 - NOISE_MEMORY**2)
        motion = API.run(call, self.hands)
        for target in motion:
            rows.state.append(self.world.joints())
            rows.action.append(target)
            rows.front.append(self.world.render("front"))
            rows.wrist.append(self.world.render("wrist"))
            rows.call.append(str(call))
            rows.hint.append(hint)
            rows.goal.append(goal)
            rows.finished.append(float(self.hands.finished))
            rows.aim.append(self._aim())
            rows.pixel.append(self._pixel())
            noise[:5] = NOISE_MEMORY * noise[:5] + spread * rng.standard_normal(5)
            self.world.step(target + noise)

    def _stray(self, call: Call, rng: np.random.Generator) -> None:
        """Leave the arm somewhere over the table, half of the time near the cube, as a missed grasp does."""
        pose = self.world.pose_of(call.arguments[0])
        if rng.random() < 0.5:
            x, y = pose.x + rng.uniform(-0.03, 0.03), pose.y + rng.uniform(-0.03, 0.03)
        else:
            x, y = reachable(rng)
        z, grip = rng.uniform(0.07, 0.12), (CLOSED if rng.random() < 0.6 else OPEN)
        yaw = self.hands.ik.bearing(x, y) + rng.uniform(-0.8, 0.8)
        seed = np.array([0.0, -0.3, 0.5, 1.2, 0.0])
        angles = self.hands.ik.solve(np.array([x, y, z]), yaw, seed, reach_m=GRASP_REACH_M, tilt_rad=4.0)
        for target in self.hands.move_to(angles, grip):
            self.world.step(target)

    def _succeeded(self, call: Call) -> bool:
        if call.subtask == "pick":
            return self.world.held() == call.arguments[0] and self.world.pose_of(call.arguments[0]).z > 0.05
        aim = self.hands.aim
        near = [i for i in self.world.items() if aim is not None and np.hypot(i.x - aim.x, i.y - aim.y) < 0.018]
        return self.world.held() is None and any(i.shape == "cube" for i in near)

    def _hint(self, call: Call) -> tuple[int, int]:
        """The object's cell on the 10x10 grid over the front image; (-1, -1) where the call takes no hint."""
        if call.subtask not in ("pick", "place_on"):
            return (-1, -1)
        pose = self.world.pose_of(call.arguments[0])
        u, v = self.world.project("front", (pose.x, pose.y, pose.z))
        return (int(np.clip(u * 10, 0, 9)), int(np.clip(v * 10, 0, 9)))

    def _aim(self) -> list[float]:
        """x, y, z and the cosine and sine of four times the yaw: a cube looks the same every quarter turn."""
        aim = self.hands.aim
        assert aim is not None, "every recorded subtask aims at something"
        return [aim.x, aim.y, aim.z, float(np.cos(4 * aim.yaw)), float(np.sin(4 * aim.yaw))]

    def _pixel(self) -> list[float]:
        """Where the aim is in the front and in the wrist image: u, v, u, v."""
        aim = self.hands.aim
        assert aim is not None
        point = (aim.x, aim.y, aim.z)
        return [*self.world.project("front", point), *np.clip(self.world.project("wrist", point), -4, 5)]


def _work(root: str, seed: int, worker: int, workers: int, episodes: int) -> int:
    """One worker's share; returns how many episodes it kept."""
    demonstrator, kept = Demonstrator(), 0
    shown: Iterator[int] = iter(range(worker, episodes, workers))
    if worker == 0:
        shown = iter(track(list(shown), description="demonstrations"))
    with DatasetWriter(root, worker=worker) as writer:
        for index in shown:
            episode = demonstrator.demonstrate(seed, index)
            if episode is not None:
                writer.add(episode)
                kept += 1
    return kept


def generate(out: Path, *, episodes: int, seed: int, workers: int) -> int:
    """Write a dataset; returns the number of episodes kept. Same arguments, same dataset.

    Args:
        out: Dataset directory; an older one is replaced once the new one is complete.
        episodes: How many are tried; the few in which the disturbed oracle fails are dropped.
        seed: Of everything random.
        workers: Processes; part of what determines the order of episodes.

    Raises:
        DatasetError: `out` holds something that is no dataset; nothing was made then.
    """
    out = out.resolve()
    _check_replaceable(out)
    aside = out.with_name(out.name + ".making")
    shutil.rmtree(aside, ignore_errors=True)
    fresh = multiprocessing.get_context("spawn")  # a forked worker inherits locks of threads that it has not
    with ProcessPoolExecutor(workers, fresh) as pool:
        jobs = [pool.submit(_work, str(aside), seed, k, workers, episodes) for k in range(workers)]
        kept = sum(job.result() for job in jobs)
    finish(aside)
    _replace(aside, out)
    return kept


def _check_replaceable(out: Path) -> None:
    """Refuses a directory of datasets, or of anything else: what is replaced is removed in the end."""
    if not out.exists() or (out / "meta/info.json").is_file() or (out.is_dir() and not any(out.iterdir())):
        return
    raise DatasetError(
        f"{out} is not a dataset",
        expected="a dataset (meta/info.json), an empty or no directory",
        got=f"a directory with {min(path.name for path in out.iterdir())}" if out.is_dir() else "a file",
        fix=f"use another --out, such as {out / 'tabletop'}",
    )


def _replace(aside: Path, out: Path) -> None:
    _check_replaceable(out)  # hours may have passed
    swap_in(aside, out)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m learning.demonstrations", description=__doc__)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("data/tabletop"),
        help="dataset directory, LeRobotDataset v3.0 (default: %(default)s)",
    )
    parser.add_argument("--episodes", type=int, default=1600, help="tasks to demonstrate (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: every core)")
    args = parser.parse_args(arguments)
    check_least(parser, args, episodes=1, seed=0, workers=1)
    try:
        kept = generate(args.out, episodes=args.episodes, seed=args.seed, workers=args.workers)
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    print(f"{kept} of {args.episodes} episodes kept in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
