"""The same diffusion policy in LeRobot (PyTorch) and as our graph (ONNX Runtime), side by side in one run.

    python benchmarks/lerobot_policy.py --lerobot-python lerobot-venv/bin/python

LeRobot lives in an environment of its own (tests/fixtures/lerobot/make.py says how to make one). There a
DiffusionPolicy with LeRobot's defaults for two cameras and six joints is made with random weights and saved; here it is
exported. Both then answer the same observations in turns, so that what else the machine does hits both alike. That both
give the same actions is checked each time. Encoder and head apart: LeRobot's are timed apart; of our graph the
difference between ten steps and one says what a step costs. Students of two and of one evaluation are the same network
asked less often: what they cost does not depend on their weights, which are the teacher's here. In int8 every layer is
that can be, calibrated on the observations: with weights that mean nothing it is the time that is measured, and how far
the chunk moves is only said. Our reference policy is timed beside them, as what runs here by default.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import limits
from benchmarks.lerobot_peer import CAMERAS, observation
from edge.policy.backends.onnx import OnnxBackend
from export.graph import read, widen_images
from export.lerobot.checkpoint import Options, open_lerobot
from export.lerobot.folding import load
from export.policy import write
from export.quantize import calibrate, quantizable, to_int8
from learning.distill.lerobot import UnetDenoiser, save

STUDENTS = {"consistency": 2, "onedp": 1}
"""Evaluations by method."""
CALIBRATED_WITH = 4
SCALE = np.array([np.pi / 180 * 4095 / 4096] * 5 + [0.01], np.float32)
"""From LeRobot's units, degrees of its calibration and per cent, to ours."""


class Peer:
    """LeRobot in a process of its own."""

    def __init__(self, python: str, path: str, directory: Path, image: int, widths: list[int], threads: int) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": str(threads)}
        if path:
            environment["PYTHONPATH"] = path
        script = Path(__file__).with_name("lerobot_peer.py")
        command = [python, str(script), str(directory), "--image", str(image), "--widths", *map(str, widths)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.about = self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise SystemExit("LeRobot ended before it answered")

    def ask(self, kind: str, seed: int) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{kind} {seed}\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def timed(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


@dataclass(frozen=True)
class Ours:
    """Our graphs of LeRobot's checkpoint: `ddim10`, `ddim1` and the students, with `-int8` behind the name in int8."""

    folder: Path
    image: int
    threads: int

    def feeds(self, seed: int, *, noise: bool) -> dict[str, Any]:
        """What the peer sees, in our units."""
        seen = observation(self.image, seed)
        feeds = {name: seen[name][None] for name in CAMERAS}
        feeds["joints"] = (seen["joints"] * SCALE)[None]
        return feeds | ({"noise": seen["noise"][None]} if noise else {})

    def export(self) -> dict[str, OnnxBackend]:
        """By name, as the runtime opens them."""
        checkpoint = self.folder / "checkpoint"
        for steps in (10, 1):
            options = Options(units="degrees", hz=30, steps=steps, noise="input")
            write(open_lerobot(checkpoint, options), self.folder / f"ddim{steps}.onnx", cases=1)
        network = load(checkpoint).network
        for method, evaluations in STUDENTS.items():
            denoiser = UnetDenoiser(network)
            save(checkpoint, self.folder / method, denoiser.unet.state_dict(), denoiser, method, 0)
            source = open_lerobot(self.folder / method, Options(units="degrees", hz=30, steps=evaluations))
            write(source, self.folder / f"{method}.onnx", cases=1)
        for name in ("ddim10", *STUDENTS):
            self._integers(name)
        return {path.stem: OnnxBackend(path, self.threads) for path in sorted(self.folder.glob("*.onnx"))}

    def _integers(self, name: str) -> None:
        model = widen_images(read(self.folder / f"{name}.onnx"))
        layers, kept = quantizable(model)
        seen = [self.feeds(1000 + seed, noise=name not in STUDENTS) for seed in range(CALIBRATED_WITH)]
        onnx.save(to_int8(model, layers, calibrate(model, layers, seen)), self.folder / f"{name}-int8.onnx")
        print(f"{name} in int8: {len(layers)} layers, {len(kept)} stay in fp32", file=sys.stderr, flush=True)


Times = dict[str, list[float]]


def measure(
    lerobot: Peer, ours: Ours, graphs: dict[str, OnnxBackend], reference: OnnxBackend, repeat: int
) -> tuple[Times, float]:
    """Seconds by who answered, in turns; and the largest difference from LeRobot, radians."""
    times: Times = defaultdict(list)
    largest = 0.0
    blank = {name: np.zeros(shape, dtype) for name, (dtype, shape) in reference.inputs.items()}
    for turn in range(repeat):
        answer = lerobot.ask("ddim", turn)
        times["theirs"].append(answer["s"])
        times["encoder"].append(answer["encoder_s"])
        for name, graph in graphs.items():
            feeds = ours.feeds(turn, noise=name.split("-")[0] not in STUDENTS)
            begin = time.perf_counter()
            chunk = graph.run(feeds)["chunk"]
            times[name].append(time.perf_counter() - begin)
            if name == "ddim10":
                error = float(np.abs(chunk[0] - np.array(answer["actions"])[1:] * SCALE).max())
                if not error < 1e-3:
                    raise SystemExit(f"the graph and LeRobot disagree by {error:.2g} rad")
                largest = max(largest, error)
        times["reference"].append(timed(partial(reference.run, blank)))
        if turn == 0:
            times["ddpm"] = [lerobot.ask("ddpm", turn)["s"]]
    return times, largest


def row(name: str, seconds: list[float], than: float | None = None) -> str:
    ratio = "" if than is None else f"  {than / np.median(seconds):8.2f} × LeRobot's DDIM-10"
    milliseconds = np.array(seconds) * 1e3
    figures = f"median {np.median(milliseconds):10.1f}  worst {milliseconds.max():10.1f} ms  n {len(seconds):3}"
    return f"{name:<44} {figures}{ratio}"


def table(times: Times) -> list[str]:
    """What a person reads."""
    base = float(np.median(times["theirs"]))
    theirs = [(whole - encoder) / 10 for whole, encoder in zip(times["theirs"], times["encoder"], strict=True)]
    step = [(ten - one) / 9 for ten, one in zip(times["ddim10"], times["ddim1"], strict=True)]
    lines = [
        row("LeRobot, PyTorch, DDPM-100", times["ddpm"], base),
        row("LeRobot, PyTorch, DDIM-10", times["theirs"], base),
        row("  its encoder, scaling included", times["encoder"]),
        row("  its head, a step", theirs),
        row("our graph, ONNX Runtime fp32, DDIM-10", times["ddim10"], base),
        row("  its encoder", [one - each for one, each in zip(times["ddim1"], step, strict=True)]),
        row("  its head, a step", step),
    ]
    for method, evaluations in STUDENTS.items():
        lines.append(row(f"our graph, fp32, a student of {evaluations}", times[method], base))
    lines.append(row("our graph, int8, DDIM-10", times["ddim10-int8"], base))
    for method, evaluations in STUDENTS.items():
        lines.append(row(f"our graph, int8, a student of {evaluations}", times[f"{method}-int8"], base))
    return [*lines, row("our reference policy, ONNX Runtime fp32", times["reference"], base)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lerobot-python", required=True, metavar="FILE", help="interpreter that imports lerobot")
    parser.add_argument("--lerobot-path", default="", metavar="DIRS", help="PYTHONPATH for it")
    parser.add_argument("--image", type=int, default=96, help="side of both cameras' images (default: 96)")
    parser.add_argument(
        "--widths", type=int, nargs="+", default=[512, 1024, 2048], help="down_dims (default: LeRobot's)"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=5, help="turns; DDPM-100 takes part in the first of them only")
    parser.add_argument("--reference", type=Path, default=Path("models/reference/policy.onnx"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        ours = Ours(Path(name), arguments.image, arguments.threads)
        lerobot = Peer(
            arguments.lerobot_python, arguments.lerobot_path, ours.folder / "checkpoint", arguments.image,
            arguments.widths, arguments.threads,
        )  # fmt: skip
        graphs = ours.export()
        print(f"{lerobot.about['parameters'] / 1e6:.1f} M parameters, {arguments.threads} thread(s), "
              f"load {os.getloadavg()[0]:.1f}")  # fmt: skip
        reference = OnnxBackend(arguments.reference, arguments.threads)
        times, largest = measure(lerobot, ours, graphs, reference, arguments.repeat)
        lerobot.close()
        print("\n".join(table(times)))
        limit, asked = limits.measured(arguments.threads), limits.work(read(ours.folder / "ddim10.onnx"))
        print(
            f"machine: {limit}; our DDIM-10 graph: {asked.flops / 1e9:.1f} GFLOP, "
            f"{asked.read / 1e9:.2f} GB of weights, " + asked.shares(float(np.median(times["ddim10"])), limit)
        )
        print(f"largest difference from LeRobot: {largest:.1e} rad")


if __name__ == "__main__":
    main()
