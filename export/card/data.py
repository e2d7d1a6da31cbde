"""What a report card says, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from export.card.measure import Measured


@dataclass(frozen=True)
class File:
    """One file of the bundle; `share` is of the bytes of all."""

    name: str
    role: str
    precision: str
    bytes: int
    share: float
    sha256: str


@dataclass(frozen=True)
class PlannerParity:
    """How a planner of one precision compares with PyTorch, as its export noted.

    `logits_error` is a share of the largest logit, `embedding_error` a relative one; None where the export did not say.
    """

    precision: str
    cases: int
    equal: int
    right: int | None
    right_torch: int | None
    logits_error: float | None
    embedding_error: float | None


@dataclass(frozen=True)
class PolicyParity:
    """How far an output of the policy's graph is from what it was made of, over `cases` observations.

    Radians for joints; None where the export did not say.
    """

    precision: str
    against: str
    output: str
    cases: int
    p99: float | None
    worst: float
    allowed: float | None


@dataclass(frozen=True)
class Success:
    """Episodes of an evaluation: `done` of `n`, and the 95 % interval of the share (Wilson)."""

    cell: str
    kind: str
    done: int
    n: int
    low: float
    high: float


@dataclass(frozen=True)
class Port:
    """One input or output of the policy's graph."""

    direction: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    kind: str
    unit: str


@dataclass(frozen=True)
class Card:
    """Everything a report card says. `facts` and `other` are rows of name and text."""

    name: str
    path: str
    api_hash: str
    robot: str
    precision: str
    files: tuple[File, ...]
    bytes: int
    planner_parity: tuple[PlannerParity, ...]
    policy_parity: tuple[PolicyParity, ...]
    success: tuple[Success, ...]
    other: tuple[tuple[str, str], ...]
    runs_as: tuple[tuple[str, str], ...]
    ports: tuple[Port, ...]
    commands: tuple[str, ...]
    made_by: tuple[tuple[str, str], ...]
    training: tuple[tuple[str, str], ...]
    between_chunks_ms: float
    """Time from one chunk to the next: an evaluation of the policy must be done well within it."""
    measured: Measured | None = None
    not_measured: str = ""
    """Why nothing was measured."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
