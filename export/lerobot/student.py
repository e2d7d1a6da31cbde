"""A student of a LeRobot diffusion policy, as `python -m learning.distill` saves it: when its network is asked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from export.errors import ExportError
from export.lerobot.diffusion import Diffusion
from export.schedule import Sampler, betas, jumps

STUDENT = "distilled.json"


@dataclass(frozen=True)
class Distilled:
    """What lies beside the weights.

    Attributes:
        method: How it was trained.
        levels: LeRobot's levels that the network is asked at, by the number of evaluations.
        training: What made it.
    """

    method: str
    levels: dict[int, list[int]]
    training: dict[str, Any] = field(default_factory=dict)

    def sampler(self, network: Diffusion, evaluations: int | None) -> Sampler:
        """Its evaluations, the fewest unless told otherwise.

        Raises:
            ExportError: It was not trained for so many.
        """
        count = min(self.levels) if evaluations is None else evaluations
        if count not in self.levels:
            expected = " or ".join(map(str, sorted(self.levels)))
            raise ExportError(f"a {self.method} student has no such number of steps", expected=expected, got=str(count))
        settings = network.settings
        noise = betas(settings.beta_schedule, settings.num_train_timesteps, settings.beta_start, settings.beta_end)
        clip = settings.clip_sample_range if settings.clip_sample else None
        return jumps(self.method, self.levels[count], noise, settings.prediction_type, clip)


def read_student(directory: Path) -> Distilled | None:
    """What a checkpoint says of itself if it is a student.

    Raises:
        ExportError: It cannot be read.
    """
    path = directory / STUDENT
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        levels = {int(count): [int(level) for level in asked] for count, asked in data["levels"].items()}
        if not levels or any(len(asked) != count for count, asked in levels.items()):
            raise ValueError(f"levels {data['levels']}")
        return Distilled(str(data["method"]), levels, dict(data.get("training", {})))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        got = f"{type(problem).__name__}: {problem}"
        raise ExportError(f"cannot read {path}", expected="what learning.distill wrote", got=got) from problem
