"""An emulated machine from Python: a port and two camera addresses that `edge run` cannot tell from a real arm's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, cast

from learning.sim.scene import Item
from learning.sim.spec import DeviceSpec, child_environment
from learning.tasks import Task

__all__ = ["DeviceSpec", "SimDevice"]


class SimDevice:
    """Starts an emulated machine in processes of its own. Use as a context manager, or call `close`.

    Everything it started ends with `close`, and by itself when this process dies in whatever way.

    Args:
        spec: The scene, and the task that the judge decides about.

    Attributes:
        port: Serial port of the servos, which hold the ready pose with torque on.
        cameras: Address by camera name, `front` and `wrist`.

    Raises:
        OSError: The machine did not come up; its messages are on standard error.
    """

    def __init__(self, spec: DeviceSpec) -> None:
        self.spec = spec
        self._process = subprocess.Popen(
            [sys.executable, "-m", "learning.sim", "serve", "--spec", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environment(),
            text=True,
        )
        try:
            ready = self._ask(spec.to_json())
        except OSError:
            self.close()
            raise
        self.port: str = ready["port"]
        self.cameras: dict[str, str] = ready["cameras"]

    @property
    def pid(self) -> int:
        """Of the process that has started all others."""
        return self._process.pid

    def state(self) -> dict[str, Any]:
        """Where everything really is: `items`, `held`, `pinch`, `joints`, `time_s`; `slipped_s` is time lost."""
        return self._ask("state")

    def judge(self) -> bool:
        """Whether the task is done as things are now.

        Raises:
            ValueError: The spec has no task.
        """
        done = self._ask("judge")["done"]
        if done is None:
            raise ValueError("this machine was started without a task: there is nothing to judge")
        return bool(done)

    def begin(self, task: Task, items: Sequence[Item] | None = None) -> None:
        """Another task for the judge, from things as they are now.

        Args:
            task: What is to be done.
            items: Puts the objects of the scene, in its order, elsewhere before that; the arm stays as it is.
        """
        asked = {"task": asdict(task), "items": None if items is None else [asdict(item) for item in items]}
        self._ask("task " + json.dumps(asked))

    def close(self) -> None:
        """Ends all of its processes."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> SimDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(request + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise OSError(f"the emulated machine ended with status {self._process.wait()}")
        return cast(dict[str, Any], json.loads(answer))
