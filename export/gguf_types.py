"""llama.cpp's quantization types: what `--type` may be, and which is the best that fits into so many bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from export.errors import ExportError


@dataclass(frozen=True)
class FileType:
    """A mixture of tensor types under one name.

    Attributes:
        name: As `--type` takes it.
        number: `enum llama_ftype`.
        bits: A weight's share of the file, on average. An order, not a promise: rows that do not divide fall back.
        needs_importance: llama.cpp refuses it without an importance matrix.
    """

    name: str
    number: int
    bits: float
    needs_importance: bool = False


_ALL = (
    FileType("f32", 0, 32.0),
    FileType("f16", 1, 16.0),
    FileType("bf16", 32, 16.0),
    FileType("q8_0", 7, 8.5),
    FileType("q6_k", 18, 6.56),
    FileType("q5_1", 9, 6.0),
    FileType("q5_k_m", 17, 5.69),
    FileType("q5_k_s", 16, 5.54),
    FileType("q5_0", 8, 5.5),
    FileType("q4_1", 3, 5.0),
    FileType("q4_k_m", 15, 4.85),
    FileType("q4_k_s", 14, 4.58),
    FileType("q4_0", 2, 4.55),
    FileType("iq4_nl", 25, 4.5),
    FileType("iq4_xs", 30, 4.25),
    FileType("q3_k_l", 13, 4.27),
    FileType("q3_k_m", 12, 3.91),
    FileType("iq3_m", 27, 3.66),
    FileType("q3_k_s", 11, 3.5),
    FileType("iq3_s", 26, 3.44),
    FileType("iq3_xs", 22, 3.3),
    FileType("iq3_xxs", 23, 3.06, needs_importance=True),
    FileType("q2_k", 10, 2.96),
    FileType("iq2_m", 29, 2.7, needs_importance=True),
    FileType("q2_k_s", 21, 2.79, needs_importance=True),
    FileType("iq2_s", 28, 2.5, needs_importance=True),
    FileType("iq2_xs", 20, 2.31, needs_importance=True),
    FileType("iq2_xxs", 19, 2.06, needs_importance=True),
)
FILE_TYPES = {kind.name: kind for kind in _ALL}

#: What a target chooses from, best first. Left out: what another one beats at its size, and below 3 bits a planner is
#: no planner.
LADDER = ("f16", "q8_0", "q6_k", "q5_k_m", "q5_0", "q4_k_m", "q4_0", "q3_k_l", "q3_k_m")
#: The vision half keeps the calls right with 8 bits and is small beside the text: it goes no lower unless told to.
LEAST_VISION = "q8_0"


def file_type(name: str) -> FileType:
    """The type of a name.

    Raises:
        ExportError: If there is none; names the known ones.
    """
    if name not in FILE_TYPES:
        raise ExportError("unknown quantization type", expected=", ".join(FILE_TYPES), got=name)
    return FILE_TYPES[name]


def vision_type(text: str) -> str:
    """The vision half's type where none is asked for: the text's, and not below `LEAST_VISION`."""
    least = file_type(LEAST_VISION)
    return text if file_type(text).bits >= least.bits else least.name


def larger(name: str) -> tuple[str, ...]:
    """The types of the ladder that are larger than one, the nearest first."""
    bits = file_type(name).bits
    return tuple(other for other in reversed(LADDER) if file_type(other).bits > bits)


@dataclass(frozen=True)
class Tried:
    """What a target measured of one type: `megabytes` is what the target limits."""

    name: str
    megabytes: float


def best_that_fits(
    limit: float, measure: Callable[[str], float], what: str, ladder: Iterable[str] = LADDER
) -> tuple[str, list[Tried]]:
    """The first type of the ladder whose measured megabytes are within the limit, and all that were tried.

    Args:
        limit: Megabytes (10⁶ bytes).
        measure: Megabytes of a type.
        what: What is measured, for the error.
        ladder: Type names, best first.

    Raises:
        ExportError: If not even the last one fits; says how much it needs.
    """
    tried = list[Tried]()
    for name in ladder:
        tried.append(Tried(name, measure(name)))
        if tried[-1].megabytes <= limit:
            return name, tried
    smallest = min(tried, key=lambda row: row.megabytes)
    raise ExportError(
        f"no type fits into {limit:g} MB of {what}",
        expected=f"at least {smallest.megabytes:.2f} MB, what {smallest.name} needs",
        got=", ".join(f"{row.name} {row.megabytes:.2f}" for row in tried),
        fix="raise the limit, or train a smaller network",
    )
