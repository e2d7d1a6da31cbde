"""What an emulated machine is started with, and how that crosses a process boundary."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learning.sim.scene import Item, Scene
from learning.tasks import Task


def child_environment() -> dict[str, str]:
    """Environment of a child process that finds this project from any working directory."""
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}


@dataclass(frozen=True)
class DeviceSpec:
    """An emulated machine.

    Attributes:
        scene: What stands on the table, and where the cameras and the light are.
        task: What the judge decides about; None: there is nothing to judge.
        camera_hz: Frames a second of each camera.
        wiretap: A file to which everything is appended that the servos hear, as records of
            `firmware_bridge.emulators.server.TAP`; empty for none.
    """

    scene: Scene
    task: Task | None = None
    camera_hz: float = 25.0
    wiretap: str = ""

    def to_json(self) -> str:
        """One line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> DeviceSpec:
        """The spec that `to_json` wrote."""
        data = json.loads(text)
        scene: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data["scene"].items()
        }
        scene["items"] = tuple(Item(**item) for item in data["scene"]["items"])
        task = data["task"] and Task(**{**data["task"], "objects": tuple(data["task"]["objects"])})
        return cls(Scene(**scene), task, data["camera_hz"], data["wiretap"])
