"""Success and cost of policies side by side on the same scenes: every way of distilling, every number of evaluations.

    python benchmarks/students.py build/students/teacher-ddim10 build/students/distilled … --out build/students.json

Each argument is a bundle (`python -m export bundle`). The oracle plans, the policy acts, in lock-step, on the scenes of
`learning.evaluate`. The first bundle is what the others are compared with, scene by scene. Scenes that are in the file
already are not run again. Choose between policies with `--first 1000`, report with the first hundred scenes.

The cost of a chunk is the processor's time on one thread, which other work on the machine changes little.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edge import manifest
from edge.manifest import Bundle
from edge.policy.backends.onnx import OnnxBackend
from export.ours import case
from learning.evaluate import MAIN, evaluate
from learning.intervals import wilson

CELL = "policy"
RUNS = 200
BLOCK = 25
"""Scenes of each task between two writes of the results."""


def cost_ms(bundle: Bundle, runs: int = RUNS) -> float:
    """Median processor time of a chunk, on one thread, for any picture."""
    backend, rng = OnnxBackend(bundle.file(bundle.manifest.policy.file)), np.random.default_rng(0)
    inputs, times = [case(rng) for _ in range(8)], []
    for index in range(runs + 5):
        begin = time.thread_time()
        backend.run(inputs[index % len(inputs)])
        times.append((time.thread_time() - begin) * 1e3)
    return float(np.median(times[5:]))


def about(bundle: Bundle) -> dict[str, Any]:
    """A row without a scene; `success` gets for each task what came of each scene, by its number."""
    report = bundle.manifest.made_by.parts.get("policy", {})
    return {
        "policy": bundle.manifest.files[bundle.manifest.policy.file],
        "method": report.get("method", "unknown"),
        "evaluations": report.get("evaluations", 0),
        "training": report.get("training", {}),
        "cost_ms": cost_ms(bundle),
        "success": {kind: {} for kind in MAIN},
    }


def measure(row: dict[str, Any], bundle: Path, scenes: list[int], workers: int) -> None:
    """Adds scenes to a row, neighbours in number."""
    for score in evaluate(bundle, [CELL], len(scenes), None, workers, scenes[0]):
        row["success"][score.kind][str(score.index)] = score.success


def table(rows: list[dict[str, Any]], scenes: list[int]) -> str:
    """Successes of each task, of all with 95 % intervals, and scenes gained and lost against the first row."""
    lines = [
        "| policy | evaluations | ms | " + " | ".join(MAIN) + " | all, 95 % | gained, lost |",
        "|---|---|---|" + "---|" * (len(MAIN) + 2),
    ]

    def successes(row: dict[str, Any], kind: str) -> list[bool]:
        return [row["success"][kind][str(index)] for index in scenes]

    base = [good for kind in MAIN for good in successes(rows[0], kind)]
    for index, row in enumerate(rows):
        whole = [good for kind in MAIN for good in successes(row, kind)]
        low, high = wilson(sum(whole), len(whole))
        gained = sum(now and not was for now, was in zip(whole, base, strict=True))
        lost = sum(was and not now for now, was in zip(whole, base, strict=True))
        cells = [row["name"], str(row["evaluations"]), f"{row['cost_ms']:.1f}"]
        cells += [str(sum(successes(row, kind))) for kind in MAIN]
        cells.append(f"{sum(whole)} of {len(whole)}, {100 * low:.1f}–{100 * high:.1f} %")
        cells.append(f"{gained}, {lost}" if index else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--episodes", type=int, default=100, help="scenes of each task (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first scene (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--out", type=Path, default=Path("build/students.json"), help="every result (default: %(default)s)"
    )
    args = parser.parse_args()
    kept: list[dict[str, Any]] = json.loads(args.out.read_text()) if args.out.exists() else []
    args.out.parent.mkdir(parents=True, exist_ok=True)
    scenes, rows = list(range(args.first, args.first + args.episodes)), []
    for path in args.bundles:
        bundle = manifest.load(path)
        bundle.verify()
        digest = bundle.manifest.files[bundle.manifest.policy.file]
        row = next((row for row in kept if row["policy"] == digest), None)
        if row is None:
            row = about(bundle)
            kept.append(row)
        for start in range(0, len(scenes), BLOCK):
            block = scenes[start : start + BLOCK]
            if any(str(index) not in row["success"][kind] for kind in MAIN for index in block):
                measure(row, path, block, args.workers)
                aside = args.out.with_suffix(".making")
                aside.write_text(json.dumps(kept, indent=1) + "\n")
                os.replace(aside, args.out)
        rows.append(row | {"name": path.name})
    print(table(rows, scenes))


if __name__ == "__main__":
    main()
