"""Train the policy, one command a network:

    python -m learning.policy encoder                       stage one: what the robot sees
    python -m learning.policy refiner                       stage two: where that is, in metres
    python -m learning.policy teacher                       stage three: a diffusion policy on what those two found
    python -m learning.policy student --method distilled    the head that runs on the robot (docs/distillation.md)
    python -m learning.policy flat                          the baseline without calls: task text straight to actions

Each resumes from its checkpoint and prints what it measured. Same data, same seed, same weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import torch

from edge.errors import EdgeError
from learning.arguments import check_least
from learning.dataset import build_cache
from learning.policy import diffusion, distillation, students, vision
from learning.policy.data import Demonstrations
from learning.policy.features import Bank, build_bank
from learning.policy.heads import ChunkNet
from learning.policy.refiner import Refiner, refiner_loss
from learning.policy.student import load_part
from learning.policy.trainer import check_complete, digest, train

_DEFAULT_STEPS = {"encoder": 10000, "flat": 9000, "refiner": 8000, "teacher": 16000, "student": 10000}
_HEAD_BATCH, _HEAD_RATE = 256, 5e-4
_REPORT_ON = 64
_VIEWS = 1


def demonstrations(args: argparse.Namespace, *, flat: bool = False) -> Demonstrations:
    """The dataset's decoded cache; built on first use."""
    return Demonstrations(build_cache(args.data, args.data.with_name(args.data.name + ".cache")), flat=flat)


def dataset_of(args: argparse.Namespace) -> str:
    """Digest of the files that the cache was decoded from; the cache is there."""
    journal = json.loads((args.data.with_name(args.data.name + ".cache") / "cache.json").read_text())
    return _digest(journal["plan"])


def bank_of(args: argparse.Namespace) -> tuple[Bank, dict[str, Any]]:
    """Stage one's features, kept beside its checkpoint under a digest of all they are made from; and what that is."""
    stage_one = args.out / "encoder.pt"
    check_complete(stage_one, "python -m learning.policy encoder")
    model, _ = vision.load(stage_one)
    data = demonstrations(args)
    origin = {"encoder": digest(stage_one), "dataset": dataset_of(args), "seed": args.seed, "views": _VIEWS}
    out = args.out / f"features-{_digest(origin)}"
    return build_bank(model, data, out, views=_VIEWS, seed=args.seed), origin


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def train_stage_one(args: argparse.Namespace) -> None:
    data = demonstrations(args, flat=args.what == "flat")
    vision.train_encoder(
        data, args.out / f"{args.what}.pt", steps=args.steps, batch_size=64, seed=args.seed, rate=1.5e-3,
        dataset=dataset_of(args),
    )  # fmt: skip


def train_refiner(args: argparse.Namespace) -> None:
    """Stage two, on the bank of features."""
    bank, origin = bank_of(args)
    torch.manual_seed(args.seed)
    net = Refiner()

    def loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rows = bank.batch(_HEAD_BATCH, args.seed, step)
        value, miss_mm = refiner_loss(net, rows.raw, rows.joints, rows.aim, rows.finished)
        return value, {"loss": float(value.detach()), "aim_mm": float(miss_mm)}

    train(
        net, loss, args.out / "refiner.pt", steps=args.steps, rate=_HEAD_RATE, name="refiner", made_from=origin
    )  # fmt: skip


def train_head(args: argparse.Namespace, name: str, method: str | None) -> None:
    """Stage three, teacher (no method) or student: a head on the refiner's features."""
    taught = method in students.FROM_TEACHER
    check_complete(args.out / "refiner.pt", "python -m learning.policy refiner")
    if taught:
        check_complete(args.out / "teacher.pt", "python -m learning.policy teacher")
    bank, origin = bank_of(args)
    refiner, teacher = Refiner(), ChunkNet(Refiner.FEATURES)
    origin["refiner"] = digest(args.out / "refiner.pt")
    load_part(refiner, args.out / "refiner.pt")
    torch.manual_seed(args.seed)
    net = ChunkNet(Refiner.FEATURES)
    if taught:
        origin |= {"teacher": digest(args.out / "teacher.pt"), "teacher_steps": args.teacher_steps}
        load_part(teacher, args.out / "teacher.pt")
        net.load_state_dict(teacher.state_dict())
    recipe = distillation.recipe(method, net, teacher, args.rate, args.teacher_steps)
    with torch.no_grad():
        rows = bank.batch(_REPORT_ON, args.seed, _REPORT_ON)
        shown = refiner(rows.raw, rows.joints).features

    def loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
        rows = bank.batch(_HEAD_BATCH, args.seed, step)
        with torch.no_grad():
            features = refiner(rows.raw, rows.joints).features
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return recipe.loss(features, rows.chunk, generator)

    def likeness(averaged: torch.nn.Module) -> dict[str, float]:
        assert method is not None
        return distillation.likeness(method, averaged, teacher, shown)

    entries = {"method": method} | ({"teacher_steps": args.teacher_steps} if taught else {})
    train(
        net, loss, args.out / f"{name}.pt", steps=args.steps, rate=recipe.rate, name=name, betas=recipe.betas,
        companion=recipe.companion, state=lambda: entries, report=likeness if taught else None,
        made_from=origin,
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    defaults = ", ".join(f"{what} {steps}" for what, steps in _DEFAULT_STEPS.items())
    parser = argparse.ArgumentParser(
        prog="python -m learning.policy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=tuple(_DEFAULT_STEPS))
    parser.add_argument(
        "--method", choices=tuple(students.METHODS), default="distilled", help="how a student is trained"
    )
    parser.add_argument("--data", type=Path, default=Path("data/tabletop"), help="dataset of learning.demonstrations")
    parser.add_argument("--out", type=Path, default=Path("checkpoints/policy"), help="directory of checkpoints")
    parser.add_argument("--steps", type=int, help=f"optimisation steps (default: {defaults})")
    parser.add_argument("--rate", type=float, help="peak learning rate of a head (default: the method's own)")
    parser.add_argument(
        "--teacher-steps", type=int, default=diffusion.STEPS, metavar="N",
        help=f"DDIM steps of the samples that `distilled` learns (default: {diffusion.STEPS}; the shipped one: 8)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="processor threads")
    args = parser.parse_args(arguments)
    args.steps = _DEFAULT_STEPS[args.what] if args.steps is None else args.steps
    check_least(parser, args, steps=1)
    torch.set_num_threads(args.threads)
    if args.what == "student" and args.method in students.FROM_TEACHER and not (args.out / "teacher.pt").exists():
        parser.error(f"{args.out} has no teacher.pt for {args.method} to learn from: python -m learning.policy teacher")
    try:
        _train(args)
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def _train(args: argparse.Namespace) -> None:
    if args.what in ("encoder", "flat"):
        train_stage_one(args)
    elif args.what == "refiner":
        train_refiner(args)
    elif args.what == "teacher":
        train_head(args, "teacher", None)
    else:
        train_head(args, f"student-{args.method}", args.method)


if __name__ == "__main__":
    sys.exit(main())
