"""The steps of a diffusion sampler as numbers, so that a graph needs none of the sampler's logic.

Whatever the sampler (DDPM, Ho et al. 2020; DDIM with η = 0, Song et al. 2021) and whatever the network predicts, one
step from the sample x and the network's output is

    clean = clip(a x + b output)
    next  = c clean + d x + e output + s noise
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from export.errors import ExportError

SAMPLERS = ("ddim", "ddpm")
BETA_SCHEDULES = ("squaredcos_cap_v2", "linear")
PREDICTIONS = ("epsilon", "sample")


@dataclass(frozen=True)
class Step:
    """One evaluation of the network at `level` and what follows from it; letters as in the module's formula."""

    level: float
    a: float
    b: float
    c: float
    d: float
    e: float
    s: float = 0.0


@dataclass(frozen=True)
class Sampler:
    """Steps in order, and the bound that clean samples are clipped to, if any."""

    name: str
    steps: tuple[Step, ...]
    clip: float | None = None

    @property
    def draws(self) -> int:
        """How many draws of noise it takes: the first sample, and one for each step that adds some."""
        return 1 + sum(step.s > 0 for step in self.steps)


def betas(schedule: str, count: int, start: float, end: float) -> NDArray[np.float32]:
    """Noise added at each level of training, (count,).

    `squaredcos_cap_v2` is the cosine schedule of Nichol & Dhariwal (2021) with betas of 0.999 at most.

    Raises:
        ExportError: Another schedule.
    """
    if schedule == "linear":
        return np.linspace(start, end, count, dtype=np.float32)
    if schedule == "squaredcos_cap_v2":
        left = [math.cos((level / count + 0.008) / 1.008 * math.pi / 2) ** 2 for level in range(count + 1)]
        return np.array([min(1 - after / before, 0.999) for before, after in pairwise(left)], np.float32)
    raise ExportError(
        f"beta schedule {schedule!r} is not supported", expected=" or ".join(BETA_SCHEDULES), got=repr(schedule)
    )


def discrete(sampler: str, steps: int, noise: NDArray[np.float32], prediction: str, clip: float | None) -> Sampler:
    """A sampler over the levels that a network was trained at, evenly spaced and counted from level 0.

    Args:
        sampler: `ddim` (no noise is added on the way) or `ddpm`.
        steps: Evaluations of the network.
        noise: (levels,) betas of the training.
        prediction: What the network gives: the noise (`epsilon`) or the clean sample (`sample`).
        clip: Bound of clean samples, or None.

    Raises:
        ExportError: An unknown sampler or prediction, or more steps than levels.
    """
    for what, name, known in (("sampler", sampler, SAMPLERS), ("prediction type", prediction, PREDICTIONS)):
        if name not in known:
            raise ExportError(f"{what} {name!r} is not supported", expected=" or ".join(known), got=repr(name))
    if not 1 <= steps <= len(noise):
        raise ExportError(
            "the sampler cannot take so many steps",
            expected=f"1 to {len(noise)}, the levels the network was trained at",
            got=str(steps),
            fix="choose another --steps",
        )
    left = _signal(noise)
    stride = len(noise) // steps
    levels = [index * stride for index in reversed(range(steps))]
    made = []
    for level in levels:
        now, after = left[level], left[level - stride] if level >= stride else 1.0
        a, b = _clean(now, prediction)
        if sampler == "ddpm":
            c, d, s = _posterior(now, after)
            e = 0.0
        else:
            # The noise comes from the clean sample before it is clipped.
            remaining = (1 - after) ** 0.5
            c, s = after**0.5, 0.0
            if prediction == "epsilon":
                d, e = 0.0, remaining
            else:
                d, e = remaining * (1 - now) ** -0.5, -remaining * now**0.5 * (1 - now) ** -0.5
        made.append(Step(float(level), a, b, c, d, e, s))
    return Sampler(sampler, tuple(made), clip)


def jumps(name: str, levels: Sequence[int], noise: NDArray[np.float32], prediction: str, clip: float | None) -> Sampler:
    """A distilled network that names the clean sample at each of some levels; in between its answer is noised again.

    Args:
        name: What it is called.
        levels: Where it is asked, falling.
        noise: (levels,) betas of the training.
        prediction: As for `discrete`.
        clip: Bound of clean samples, or None.

    Raises:
        ExportError: Levels that are none, or do not fall, or an unknown prediction.
    """
    if prediction not in PREDICTIONS:
        expected = " or ".join(PREDICTIONS)
        raise ExportError(f"prediction type {prediction!r} is not supported", expected=expected, got=repr(prediction))
    if not levels or levels[0] >= len(noise) or levels[-1] < 0 or any(b >= a for a, b in pairwise(levels)):
        expected = f"falling levels from {len(noise) - 1} to 0"
        raise ExportError(f"{name} cannot be asked at these levels", expected=expected, got=str(list(levels)))
    left = _signal(noise)
    made = []
    for level, following in zip(levels, [*levels[1:], None], strict=True):
        a, b = _clean(float(left[level]), prediction)
        after = 1.0 if following is None else float(left[following])
        made.append(Step(float(level), a, b, after**0.5, 0.0, 0.0, (1 - after) ** 0.5))
    return Sampler(name, tuple(made), clip)


def velocity(sampler: str, signal: NDArray[np.float64], levels: NDArray[np.float64]) -> Sampler:
    """A sampler for a network that predicts the velocity (Salimans & Ho 2022) at continuous levels.

    Args:
        sampler: `ddim` (no noise is added on the way) or `ddpm`.
        signal: (steps + 1,) share of signal power left at each level. The last one counts as clean.
        levels: (steps + 1,) what the network is told at each of them; at the last it is not asked.

    Raises:
        ExportError: An unknown sampler.
    """
    if sampler not in SAMPLERS:
        expected = " or ".join(SAMPLERS)
        raise ExportError(f"sampler {sampler!r} is not supported", expected=expected, got=repr(sampler))
    made, steps = [], len(levels) - 1
    for index in range(steps):
        now, after = float(signal[index]), float(signal[index + 1]) if index + 1 < steps else 1.0
        a, b = now**0.5, -((1 - now) ** 0.5)
        if sampler == "ddpm":
            c, d, s = _posterior(now, after)
        else:
            d, s = (1 - after) ** 0.5 / max((1 - now) ** 0.5, 1e-4), 0.0
            c = after**0.5 - d * now**0.5
        made.append(Step(float(levels[index]), a, b, c, d, 0.0, s))
    return Sampler(sampler, tuple(made))


def _signal(noise: NDArray[np.float32]) -> NDArray[np.float64]:
    """The share of signal power left at each level, (levels,)."""
    # In float32, as the training did: the last levels leave so little signal that rounding decides what is left.
    return np.cumprod(np.float32(1) - noise, dtype=np.float32).astype(np.float64)


def _clean(now: float, prediction: str) -> tuple[float, float]:
    """Factors of the sample and of the network's output in the clean sample, where `now` of the power is signal."""
    return (now**-0.5, -((1 - now) ** 0.5) * now**-0.5) if prediction == "epsilon" else (0.0, 1.0)


def _posterior(now: float, after: float) -> tuple[float, float, float]:
    """Of the sample one level down: factors of the clean sample and of the present one, and the noise to add."""
    kept = now / after
    noise = max((1 - after) / (1 - now) * (1 - kept), 1e-20) ** 0.5 if after < 1 else 0.0
    return after**0.5 * (1 - kept) / (1 - now), kept**0.5 * (1 - after) / (1 - now), noise
