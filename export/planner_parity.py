"""The planner's parity gate: GGUF files against the PyTorch checkpoint they were made from, on the same prompts.

Logits are compared along the answer that PyTorch wrote, so that every compared position has the same past.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.api import Call, RobotApi
from edge.errors import CallError
from export.errors import ParityError
from export.planner_cases import Case
from export.planner_sides import LlamaSide, Logits, TorchSide

_SHOWN = 5


@dataclass(frozen=True)
class Limits:
    """What a pair of GGUF files must reach.

    Attributes:
        equal: Least fraction of cases with the same answer.
        logits: Largest logits error as a fraction of the largest logit; None where it is reported but not judged.
        embedding: Largest error of a picture's embeddings, ‖ours − PyTorch's‖ / ‖PyTorch's‖ with the Euclidean norm
            over all of a picture's tokens; None where it is reported but not judged.
    """

    equal: float
    logits: float | None = None
    embedding: float | None = None


#: f16 weights and cache leave about 0.5 % of the logits' scale; two logits nearer than that may change places. The
#: vision half is judged in f32, because f16 weights alone cost nearly 1e-3.
FULL_LIMITS = Limits(equal=0.99, logits=0.02, embedding=1e-3)
QUANTIZED_LIMITS = Limits(equal=0.99)


@dataclass(frozen=True)
class Parity:
    """How far a pair of GGUF files is from PyTorch over some cases.

    Attributes:
        cases: How many.
        equal: Cases whose answer is the same: a call whichever tokens spell it, other models' answers token for token.
        logits_error: Largest absolute difference of a logit, along PyTorch's answers.
        logits_scale: Largest absolute logit of PyTorch, for proportion.
        kl: Mean Kullback–Leibler divergence of the next token's distribution from full precision's, in nats, along the
            same answers.
        embedding_error: Largest relative error of a picture's embeddings (`Limits.embedding`); 0 without pictures.
        right: Cases whose call is the right one, or None where the cases do not say.
        right_torch: The same for PyTorch.
    """

    cases: int
    equal: int
    logits_error: float
    logits_scale: float
    kl: float
    embedding_error: float
    right: int | None
    right_torch: int | None

    def as_dict(self) -> dict[str, Any]:
        """For the report and the manifest."""
        return asdict(self)


@dataclass(frozen=True)
class _Row:
    """One case, in the order of how bad it is."""

    equal: bool
    error: float
    scale: float
    kl: float
    embedding: float
    right: bool
    right_torch: bool
    line: str


def compare(
    api: RobotApi, cases: Sequence[Case], reference: TorchSide, files: tuple[Path, Path], limits: Limits, name: str
) -> Parity:
    """Judge one pair of GGUF files (text, vision).

    Raises:
        ParityError: If tokens differ, too few calls are equal, or the logits are too far; names the worst cases.
    """
    with LlamaSide(api, files, reference.image_size) as side:
        rows = [_row(api, index, case, reference, side, name) for index, case in enumerate(cases)]
    known = all(case.call is not None for case in cases)
    parity = Parity(
        cases=len(rows),
        equal=sum(row.equal for row in rows),
        logits_error=max(row.error for row in rows),
        logits_scale=max(row.scale for row in rows),
        kl=float(np.mean([row.kl for row in rows])),
        embedding_error=max(row.embedding for row in rows),
        right=sum(row.right for row in rows) if known else None,
        right_torch=sum(row.right_torch for row in rows) if known else None,
    )
    worst = sorted(rows, key=lambda row: (row.equal, -row.error))
    judge(parity, limits, name, [row.line for row in worst])
    return parity


def _row(api: RobotApi, index: int, case: Case, reference: TorchSide, side: LlamaSide, name: str) -> _Row:
    if reference.prompt(api, case) != side.prompt(case) or reference.image_tokens != side.image_tokens:
        raise ParityError(
            f"case {index}: llama.cpp reads other tokens than the trainer wrote",
            expected=f"{reference.prompt(api, case)} around {reference.image_tokens} image tokens",
            got=f"{side.prompt(case)} around {side.image_tokens}",
            fix="the tokenizer must have SmolLM2's pre-tokenizer: see docs/planner-format.md",
        )
    expected = reference.answer(api, case, side.sampler)
    got, along = side.answer(case, expected.ids)
    pairs = list(zip(along, expected.logits, strict=True))
    errors = [largest_difference(a, b) for a, b in pairs]
    which = f"case {index} ({case.task!r} after {len(case.transcript)} calls)"
    calls = expected.text if got.text == expected.text else f"PyTorch {expected.text!r}, {name} {got.text!r}"
    return _Row(
        equal=got.text == expected.text,
        error=max(errors),
        scale=max(float(np.abs(logits).max()) for logits in expected.logits),
        kl=float(np.mean([divergence(b, a) for a, b in pairs])),
        embedding=relative_error(side.see(case.image), reference.see(case.image)),
        right=_same_call(api, got.text, case.call),
        right_torch=_same_call(api, expected.text, case.call),
        line=f"{which}: logits error {max(errors):.3g}, {calls}",
    )


def _same_call(api: RobotApi, text: str, call: Call | None) -> bool:
    """Whether a text is the right call, hints aside."""
    try:
        return call is not None and api.parse(text).without_hint() == call.without_hint()
    except CallError:
        return False


def largest_difference(ours: Logits, theirs: Logits) -> float:
    """Largest absolute difference. A padded vocabulary may be cut on one side; ids beyond it are never chosen."""
    size = min(len(ours), len(theirs))
    return float(np.abs(ours[:size] - theirs[:size]).max())


def divergence(true: Logits, ours: Logits) -> float:
    """Kullback–Leibler divergence of two next-token distributions given as logits, in nats."""
    size = min(len(ours), len(true))
    p, q = (_log_softmax(logits[:size].astype(np.float64)) for logits in (true, ours))
    return float((np.exp(p) * (p - q)).sum())


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted: NDArray[np.float64] = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def relative_error(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """‖ours − theirs‖ / ‖theirs‖, Euclidean over everything.

    Raises:
        ParityError: If the shapes differ or either is not finite.
    """
    if ours.shape != theirs.shape or not np.isfinite(ours).all() or not np.isfinite(theirs).all():
        raise ParityError(
            "the vision half makes other embeddings than the checkpoint",
            expected=f"{theirs.shape} finite numbers",
            got=f"{ours.shape}, {np.isfinite(ours).mean():.0%} of them finite",
        )
    return float(np.linalg.norm(ours - theirs) / max(float(np.linalg.norm(theirs)), 1e-30))


def judge(parity: Parity, limits: Limits, name: str, lines: Sequence[str]) -> None:
    """Compare with the limits; `lines` describe the cases, the worst first.

    Raises:
        ParityError: If one is not met.
    """
    worst = "".join(f"\n    {line}" for line in lines[:_SHOWN])
    # Written so that a comparison with something that is no number fails.
    if limits.embedding is not None and not parity.embedding_error < limits.embedding:
        raise ParityError(
            f"{name}: the vision half sees something else than the checkpoint",
            expected=f"a relative error (Euclidean norm) of its embeddings below {limits.embedding:g}",
            got=f"{parity.embedding_error:.3g}",
            fix="the checkpoint breaks a rule of docs/planner-export.md",
        )
    if parity.equal < limits.equal * parity.cases:
        raise ParityError(
            f"{name} does not plan as the checkpoint does",
            expected=f"the same answer in at least {limits.equal:.1%} of {parity.cases} cases",
            got=f"{parity.equal}; worst:{worst}",
            fix="take a larger --type, or give --calibration; if f16 fails too, see docs/planner-export.md",
        )
    if limits.logits is not None and not parity.logits_error <= limits.logits * parity.logits_scale:
        raise ParityError(
            f"{name}: logits differ from the checkpoint's",
            expected=f"at most {limits.logits:.1%} of the largest logit, {parity.logits_scale:.3g}",
            got=f"{parity.logits_error:.3g}; worst:{worst}",
            fix="the checkpoint breaks a rule of docs/planner-export.md",
        )
