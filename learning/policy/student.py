"""The network that goes to the robot: encoder, head and normalisation in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from learning.policy import students, vision
from learning.policy.heads import CHUNK, ChunkNet


class Student(nn.Module):
    """The policy graph of docs/architecture.md.

    Its noise is one fixed draw: the robot answers the same picture with the same motion.
    """

    def __init__(self, seen: vision.Regression, head: nn.Module, method: str, seed: int = 0) -> None:
        super().__init__()
        self.encoder, self.normal, self.head, self.method = seen.encoder, seen.normal, head, method
        self.register_buffer("noise", torch.randn(1, CHUNK, generator=torch.Generator().manual_seed(seed)))

    def forward(
        self, front: Tensor, wrist: Tensor, joints: Tensor, call: Tensor, goal: Tensor
    ) -> tuple[Tensor, Tensor]:
        """→ chunk (B, 16, 6) in `JOINTS` units, finished (B, 1) as a probability."""
        found = self.encoder(front, wrist, joints, call, goal)
        flat = students.run(self.method, self.head, found.vector, self.noise.expand(len(joints), -1))
        return self.normal.unsquash(flat), found.finished.sigmoid()


def load_head(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The averaged head of a checkpoint, and where it stands."""
    saved = torch.load(path, weights_only=False)
    net = ChunkNet()
    net.load_state_dict(saved["averaged"])
    return net.eval(), {"step": saved["step"], "steps": saved["steps"]}


def load_student(directory: Path, method: str) -> tuple[Student, dict[str, Any]]:
    """The student of a training directory, and what made it. `stage-one` is the encoder's own regression head."""
    seen, origin = vision.load(directory / "encoder.pt")
    trained = {"encoder": {"step": origin["step"], "steps": origin["steps"], "seed": origin["seed"]}}
    if method == "stage-one":
        return Student(seen, seen.head, "regression").eval(), trained
    head, trained["student"] = load_head(directory / f"student-{method}.pt")
    return Student(seen, head, method).eval(), trained
