"""Train the policy, one command a network:

    python -m learning.policy encoder                       stage one: what the robot sees
    python -m learning.policy teacher                       a diffusion policy on what the encoder sees
    python -m learning.policy student --method distilled    the head that runs on the robot, or a baseline
    python -m learning.policy flat                          the baseline without calls: task text straight to actions

Each resumes from its checkpoint and prints what it measured. Same data, same seed, same weights.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import torch

from learning.dataset import build_cache
from learning.policy import diffusion, students, vision
from learning.policy.data import Demonstrations
from learning.policy.features import Bank, build_bank
from learning.policy.heads import ChunkNet
from learning.policy.student import load_head
from learning.policy.trainer import train

_DEFAULT_STEPS = {"encoder": 12000, "flat": 12000, "teacher": 12000, "student": 12000}
_HEAD_BATCH, _HEAD_RATE = 256, 5e-4
_VIEWS = 2


def demonstrations(args: argparse.Namespace, *, flat: bool = False) -> Demonstrations:
    """The dataset's decoded cache; built on first use."""
    return Demonstrations(build_cache(args.data, args.data.with_name(args.data.name + ".cache")), flat=flat)


def bank_of(args: argparse.Namespace) -> tuple[vision.Regression, Bank]:
    """Stage one's network and its features, kept beside its checkpoint under the checkpoint's own digest."""
    stage_one = args.out / "encoder.pt"
    model, _ = vision.load(stage_one)
    digest = hashlib.sha256(stage_one.read_bytes()).hexdigest()[:12]
    return model, build_bank(model, demonstrations(args), args.out / f"features-{digest}", views=_VIEWS, seed=args.seed)


def train_stage_one(args: argparse.Namespace) -> None:
    data = demonstrations(args, flat=args.what == "flat")
    vision.train_encoder(
        data, args.out / f"{args.what}.pt", steps=args.steps, batch_size=64, seed=args.seed, rate=1.5e-3
    )


def train_head(args: argparse.Namespace, name: str, method: str | None) -> None:
    """Teacher or student: a fresh head on the bank of features."""
    _, bank = bank_of(args)
    teacher = None
    if method == "distilled":
        teacher, _ = load_head(args.out / "teacher.pt")
    torch.manual_seed(args.seed)
    net = ChunkNet()
    if teacher is not None:
        net.load_state_dict(teacher.state_dict())

    def loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
        features, chunk = bank.batch(_HEAD_BATCH, args.seed, step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            if method is None:
                value = diffusion.teacher_loss(net, features, chunk, generator)
            else:
                value = students.loss(method, net, teacher, features, chunk, generator)
        return value, {"loss": float(value.detach())}

    train(
        net,
        loss,
        args.out / f"{name}.pt",
        steps=args.steps,
        rate=_HEAD_RATE,
        name=name,
        state=lambda: {"method": method},
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m learning.policy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("encoder", "teacher", "student", "flat"))
    parser.add_argument("--method", choices=students.METHODS, default="distilled", help="how a student is trained")
    parser.add_argument("--data", type=Path, default=Path("data/tabletop"), help="dataset of learning.demonstrations")
    parser.add_argument("--out", type=Path, default=Path("checkpoints/policy"), help="directory of checkpoints")
    parser.add_argument("--steps", type=int, help="optimisation steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="processor threads")
    args = parser.parse_args()
    args.steps = args.steps or _DEFAULT_STEPS[args.what]
    torch.set_num_threads(args.threads)
    if args.what in ("encoder", "flat"):
        train_stage_one(args)
    elif args.what == "teacher":
        train_head(args, "teacher", None)
    else:
        train_head(args, f"student-{args.method}", args.method)


if __name__ == "__main__":
    main()
