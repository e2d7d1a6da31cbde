"""Distil a diffusion policy that LeRobot saved, with the data it was trained on, to one to three evaluations:

    python -m learning.distill --checkpoint pretrained_model --data my-dataset --method onedp --out distilled/onedp
    python -m export policy --checkpoint distilled/onedp/student --joint-units degrees --hz 30 --out build/policy.onnx

`onedp` makes a generator of one evaluation; `consistency` a student of one to three (`export policy --steps`). The
cameras' encoders stay the teacher's: what they make of every frame is computed once. Both parts resume.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edge.errors import EdgeError
from export.errors import ExportError
from export.lerobot.diffusion import Diffusion
from export.lerobot.folding import load
from export.lerobot.settings import is_lerobot
from learning.distill import frames, onedp
from learning.distill.consistency import Consistency
from learning.distill.lerobot import METHODS, STEPS, UnetDenoiser, save
from learning.distill.onedp import OneDP
from learning.policy.trainer import train

_RATES = {"onedp": 1e-5, "consistency": 1e-4}


def distil(args: argparse.Namespace) -> Path:
    """Trains the student that the command line asks for; returns its checkpoint."""
    if not is_lerobot(args.checkpoint):
        fix = "our own checkpoints have a command of their own: python -m learning.policy student"
        raise ExportError(f"no checkpoint of LeRobot at {args.checkpoint}", expected="config.json", got="none", fix=fix)
    found = load(args.checkpoint, tuple(args.ignore_setting))
    if not isinstance(found.network, Diffusion):
        raise ExportError(
            "there is nothing to distil", expected="a diffusion policy", got="act: one evaluation as it is"
        )
    torch.manual_seed(args.seed)
    found.network.to(args.device).requires_grad_(False)
    data = frames.build(found, args.data, args.out / "frames", args.device)
    rows = data.rows()
    teacher = UnetDenoiser(found.network)
    student = teacher.twin(trainable=True)
    rate = args.rate or _RATES[args.method]
    pair: OneDP | Consistency
    if args.method == "onedp":
        pair, betas = OneDP(student, teacher, rate=onedp.SCORE_FACTOR * rate), onedp.BETAS
    else:
        pair, betas = Consistency(student, teacher, steps=STEPS), (0.95, 0.999)

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        chosen = np.sort(np.random.default_rng([args.seed, step]).choice(rows, args.batch))
        condition, actions = (part.to(args.device) for part in data.samples(chosen))
        return pair.loss(actions, condition, torch.Generator().manual_seed(args.seed * 1_000_003 + step))

    name = f"{args.checkpoint.resolve()} {args.method}"
    made = train(
        student, loss, args.out / "training.pt", steps=args.steps, rate=rate, name=name, betas=betas, companion=pair,
        made_from={"policy": data.policy, "seed": args.seed, "batch": args.batch},
    )  # fmt: skip
    assert isinstance(made, UnetDenoiser)
    out: Path = args.out / "student"
    save(args.checkpoint, out, made.unet.state_dict(), made, args.method, args.steps)
    return out


def main() -> int:
    """Exit status 0, or 2 with what cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m learning.distill", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIR", help="that LeRobot saved")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="LeRobotDataset v3.0 of its training")
    parser.add_argument("--method", choices=METHODS, required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="frames, training and student")
    parser.add_argument("--steps", type=int, default=20000, help="optimisation steps (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="samples a step (default: %(default)s)")
    parser.add_argument("--rate", type=float, help="peak learning rate (default: 1e-5 of onedp, 1e-4 of consistency)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="processor threads")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda (not measured)")
    parser.add_argument("--ignore-setting", action="append", default=[], metavar="NAME", help="as for export policy")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        print(f"{distil(args)}: export it with python -m export policy --checkpoint")
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
