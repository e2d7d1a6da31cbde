"""The network that goes to the robot: encoder, head and normalisation in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from learning.policy import students, vision
from learning.policy.heads import CHUNK, ChunkNet
from learning.policy.refiner import Refiner


class StageOne(nn.Module):
    """The encoder with its own regression head, as a policy graph: what there is before anything else is trained."""

    evaluations = 1

    def __init__(self, seen: vision.Regression) -> None:
        super().__init__()
        self.seen = seen

    def forward(
        self, front: Tensor, wrist: Tensor, joints: Tensor, call: Tensor, goal: Tensor
    ) -> tuple[Tensor, Tensor]:
        """→ chunk (B, 16, 6) in `JOINTS` units, finished (B, 1) as a probability."""
        found = self.seen.encoder(front, wrist, joints, call, goal)
        zero = found.vector.new_zeros(len(found.vector), CHUNK)
        return self.seen.normal.unsquash(self.seen.head(found.vector, zero, zero[:, 0])), found.finished.sigmoid()


class Student(nn.Module):
    """The policy graph of docs/architecture.md.

    Its noise is drawn once for all: the robot answers the same picture with the same motion.

    Args:
        seen: Stage one.
        refiner: Stage two.
        head: Stage three.
        method: How the head was trained.
        evaluations: How often it is evaluated, if the method leaves a choice.
        seed: Of the noise; None for none, the middle of all noise.
    """

    def __init__(
        self,
        seen: vision.Regression,
        refiner: Refiner,
        head: nn.Module,
        method: str,
        evaluations: int | None = None,
        seed: int | None = 0,
    ) -> None:
        super().__init__()
        self.evaluations = students.evaluations(method, evaluations)
        self.encoder, self.normal, self.refiner = seen.encoder, seen.normal, refiner
        self.head, self.method = head, method
        noise = torch.zeros(self.evaluations, 1, CHUNK)
        if seed is not None:
            noise.normal_(generator=torch.Generator().manual_seed(seed))
        self.register_buffer("noise", noise)

    def forward(
        self, front: Tensor, wrist: Tensor, joints: Tensor, call: Tensor, goal: Tensor
    ) -> tuple[Tensor, Tensor]:
        """→ chunk (B, 16, 6) in `JOINTS` units, finished (B, 1) as a probability."""
        found = self.encoder(front, wrist, joints, call, goal)
        refined = self.refiner(found.raw, joints)
        flat = students.run(self.method, self.head, refined.features, self.noise.expand(-1, len(joints), -1))
        return self.normal.unsquash(flat), refined.finished.sigmoid()


def load_part(net: nn.Module, path: Path) -> dict[str, Any]:
    """Put a checkpoint's averaged weights into a refiner or head; returns where its training stands."""
    saved = torch.load(path, weights_only=False)
    net.load_state_dict(saved["averaged"])
    net.eval()
    return {key: saved[key] for key in ("step", "steps", "teacher_steps") if key in saved}


def load_student(
    directory: Path, method: str, evaluations: int | None = None, seed: int | None = 0
) -> tuple[StageOne | Student, dict[str, Any]]:
    """The student of a training directory, and what made it. `stage-one` is the encoder's own regression head.

    Raises:
        ValueError: No such method, or it does not evaluate its network so often.
    """
    seen, origin = vision.load(directory / "encoder.pt")
    trained = {"encoder": {"step": origin["step"], "steps": origin["steps"], "seed": origin["seed"]}}
    if method == "stage-one":
        return StageOne(seen).eval(), trained
    refiner, head = Refiner(), ChunkNet(Refiner.FEATURES)
    trained["refiner"] = load_part(refiner, directory / "refiner.pt")
    trained["student"] = load_part(head, directory / f"student-{method}.pt")
    return Student(seen, refiner, head, method, evaluations, seed).eval(), trained
