"""The loop that every training here shares: cosine schedule, averaged weights, progress, checkpoints that resume."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from edge.manifest import sha256
from learning.errors import CheckpointError

_WARM_UP, _DECAY, _SAVE_EVERY_S = 200, 0.999, 120.0


class Companion(Protocol):
    """What moves beside the trained network and is saved with it: a second network, or a slow copy."""

    def advance(self, step: int, scale: float) -> dict[str, float]:
        """Its own step after one of the network's, at a share of its learning rate; returns numbers to show."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that it needs to go on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from there."""
        ...


def averaged(module: nn.Module) -> nn.Module:
    """A copy that follows `module` by exponential averaging."""
    twin = copy.deepcopy(module).eval()
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
    return twin


@torch.no_grad()
def follow(twin: nn.Module, module: nn.Module, step: int) -> None:
    """One averaging step; buffers are copied."""
    decay = min(_DECAY, (1 + step) / (10 + step))
    for slow, fast in zip(twin.parameters(), module.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)
    for slow, fast in zip(twin.buffers(), module.buffers(), strict=True):
        slow.copy_(fast)


def digest(path: Path) -> str:
    """Of a checkpoint's content, as `made_from` keeps it."""
    return sha256(path)[:12]


def check_complete(path: Path, how: str) -> None:
    """Refuses to build on a part that is missing or half trained.

    Args:
        path: Its checkpoint.
        how: The command that trains it.

    Raises:
        CheckpointError: It is missing, or has steps left.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no {path}", expected="the checkpoint of an earlier stage", fix=f"run `{how}`")
    saved = torch.load(path, weights_only=False, mmap=True)
    if saved["step"] < saved["steps"]:
        got = f"{saved['step']} of {saved['steps']} steps"
        raise CheckpointError(f"{path} is half trained", expected="all its steps", got=got, fix=f"go on: `{how}`")


def _same_origin(out: Path, saved: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
    """Older checkpoints do not say what they were made from, but for their steps."""
    known = {"steps": saved["steps"], **saved.get("made_from", {})}
    for key in known.keys() & origin.keys():
        if known[key] != origin[key]:
            raise CheckpointError(
                f"{out} was made with another {key}",
                expected=str(origin[key]),
                got=str(known[key]),
                fix="move it away to train anew, or ask for what it was made with",
            )


def train(
    module: nn.Module,
    loss: Callable[[int], tuple[Tensor, dict[str, float]]],
    out: Path,
    *,
    steps: int,
    rate: float,
    name: str,
    betas: tuple[float, float] = (0.9, 0.98),
    companion: Companion | None = None,
    state: Callable[[], dict[str, Any]] = dict,
    report: Callable[[nn.Module], dict[str, float]] | None = None,
    report_every: int = 1000,
    made_from: Mapping[str, Any] = MappingProxyType({}),
) -> nn.Module:
    """Minimise `loss(step)` over `module`; returns its averaged twin.

    Args:
        module: What is trained; on entry its weights are the start.
        loss: The loss of a step and numbers to show. It draws its batch from the step, so resuming repeats nothing.
        out: Checkpoint file, written every two minutes and resumed from if it is there.
        steps: How many in all.
        rate: Peak learning rate.
        name: Shown in the progress bar and stored.
        betas: Of AdamW.
        companion: What else moves, after each step.
        state: Extra entries for the checkpoint.
        report: Numbers computed from the averaged twin every `report_every` steps.
        made_from: Settings, and digests of what it builds on; a checkpoint made from others is not resumed.

    Raises:
        CheckpointError: The checkpoint is another network's, or was made from something else.
    """
    origin = {"steps": steps, "rate": rate, **made_from}
    twin = averaged(module)
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=1e-4, betas=betas, fused=True)
    first = 0
    if out.exists():
        saved = torch.load(out, weights_only=False)
        if saved["name"] != name:
            raise CheckpointError(
                f"{out} holds {saved['name']!r}, not {name!r}", fix="move it away or choose another --out"
            )
        _same_origin(out, saved, origin)
        module.load_state_dict(saved["module"])
        twin.load_state_dict(saved["averaged"])
        optimizer.load_state_dict(saved["optimizer"])
        if companion is not None:
            companion.load_state_dict(saved["companion"])
        first = saved["step"]
        if first >= steps:
            print(f"{out} is already complete: {first} steps")

    def save(step: int) -> None:
        entries = {
            "name": name, "step": step, "steps": steps, "module": module.state_dict(), "averaged": twin.state_dict(),
            "optimizer": optimizer.state_dict(), "made_from": origin, **state(),
        }  # fmt: skip
        if companion is not None:
            entries["companion"] = companion.state_dict()
        out.parent.mkdir(parents=True, exist_ok=True)
        torch.save(entries, out.with_suffix(".making"))
        os.replace(out.with_suffix(".making"), out)

    saved_at, shown = time.monotonic(), {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[numbers]}"), speed_estimate_period=300) as progress:
        bar = progress.add_task(name, total=steps, completed=first, numbers="")
        for step in range(first, steps):
            scale = max(min(1.0, (step + 1) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps)), 0.01)
            for group in optimizer.param_groups:
                group["lr"] = rate * scale
            value, numbers = loss(step)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            if companion is not None:
                numbers = numbers | companion.advance(step, scale)
            follow(twin, module, step)
            for key, number in numbers.items():
                shown[key] = number + 0.98 * (shown.get(key, number) - number)
            progress.update(bar, advance=1, numbers=" ".join(f"{k} {v:.4g}" for k, v in shown.items()))
            if (step + 1) % report_every == 0 or step + 1 == steps:
                extra = report(twin) if report else {}
                numbers_text = " ".join(f"{k} {v:.4g}" for k, v in {**shown, **extra}.items())
                progress.console.print(f"{name} step {step + 1}: {numbers_text}", soft_wrap=True)
            if time.monotonic() - saved_at > _SAVE_EVERY_S or step + 1 == steps:
                save(step + 1)
                saved_at = time.monotonic()
    return twin
