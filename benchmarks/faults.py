"""The fault table: a million faults injected into our own stack in simulated time, judged by what servos decode.

    python benchmarks/faults.py                               10^6 injections, 6 * 10^7 damaged frames (minutes)
    python benchmarks/faults.py --injections 10000 --frames 60000

Builds benchmarks/fault_injection (C++), runs it and writes the table. Two ways lead to the servos: the host's loop and
servo bus, with a line of bytes between bus and servos; and a computer, the bridge protocol on a serial line, and what a
microcontroller does with it (codec, gate, safety limiter). Nothing waits for a clock. What needs processes and cables
(a policy that is killed, an adapter that is pulled out) is in tests/test_failures.py.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "faults"
CONFIDENCE = 0.95
COLUMNS = ("injections", "outside", "jumps", "stale", "holds", "aborts", "undetected")


def upper_bound(happened: int, count: int) -> float:
    """Exact one-sided 95 % upper bound of a share of which `happened` of `count` were seen.

    Clopper and Pearson, 1934. For 0 that is 1 - 0.05^(1/n), about 3/n.
    """
    if not 0 <= happened <= count or count == 0:
        raise ValueError(f"{happened} of {count}: a count from 0 to a number above 0")
    if happened == count:
        return 1.0
    if happened == 0:
        return -math.expm1(math.log(1 - CONFIDENCE) / count)
    low, high = happened / count, 1.0
    for _ in range(80):
        share = (low + high) / 2
        if _at_most(happened, count, share) > 1 - CONFIDENCE:
            low = share
        else:
            high = share
    return high


def _at_most(happened: int, count: int, share: float) -> float:
    """Chance to see no more than this: the regularised incomplete beta function, by its continued fraction."""
    a, b, x = count - happened, happened + 1, 1 - share
    if x <= 0:
        return 0.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(b, a, share)
    return _beta(a, b, x)


def _beta(a: int, b: int, x: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    fraction = d
    for m in range(1, 1_000_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            fraction *= d * c
        if abs(d * c - 1) < 1e-13:
            break
    logs = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(logs) * fraction / a


def table(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    rows = result["rows"]
    lines = [
        "| way | fault | " + " | ".join(COLUMNS) + " |",
        "|---|---|" + "--:|" * len(COLUMNS),
    ]
    for row in rows:
        cells = ["" if row[column] is None else f"{row[column]:,}".replace(",", " ") for column in COLUMNS]
        lines.append(f"| {row['path']}{'' if row['promised'] else ' *'} | {row['fault']} | {' | '.join(cells)} |")
    lines += [
        "",
        f"{sum(row['injections'] for row in rows):,}".replace(",", " ")
        + f" injections, seed {result['seed']}. "
        + "outside: goals decoded beyond a joint's limits. jumps: farther from the goals before than the joint can "
        "go. stale: from before a stop, after it. holds: came to rest by itself and went on by itself. aborts: motion "
        "ended for good (one injection at a time). undetected: messages or positions believed that nobody had sent.",
        "",
        "\\* The servos' own protocol has eight bits of sum and no number in a frame: whatever is above the wire "
        "cannot tell. Measured, not promised; that is what the bridge is for.",
        "",
        "| check | damage | frames | undetected | at most (95 %) |",
        "|---|---|--:|--:|--:|",
    ]
    codes: dict[str, tuple[int, int]] = {}
    for row in result["detection"]:
        lines.append(_bounded(row["code"], row["damage"], row["undetected"], row["frames"]))
        frames, undetected = codes.get(row["code"], (0, 0))
        codes[row["code"]] = frames + row["frames"], undetected + row["undetected"]
    lines += [_bounded(code, "all of it", undetected, frames) for code, (frames, undetected) in codes.items()]
    return "\n".join(lines) + "\n"


def _bounded(code: str, damage: str, undetected: int, frames: int) -> str:
    count = f"{frames:,} | {undetected:,}".replace(",", " ")
    return f"| {code} | {damage} | {count} | {upper_bound(undetected, frames):.1e} |"


def build() -> Path:
    """Builds the program, optimised; returns its path."""
    configure = ["cmake", "-B", str(BUILD), "-S", str(ROOT), "-DCMAKE_BUILD_TYPE=Release"]
    configure += ["-DEDGEARM_PYTHON=OFF", "-DEDGEARM_TESTS=ON"]
    for command in (configure, ["cmake", "--build", str(BUILD), "--target", "fault_injection"]):
        subprocess.run(command, check=True, stdout=sys.stderr)
    return BUILD / "tests" / "faults" / "fault_injection"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--injections", type=int, default=1_000_000, help="in all, over every row of the table")
    parser.add_argument("--frames", type=int, default=60_000_000, help="damaged frames for each check")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, default=BUILD / "faults.json", help="where the numbers go")
    parser.add_argument("--markdown", type=Path, help="where the table goes as well")
    options = parser.parse_args(arguments)
    program = build()
    command = [str(program), str(options.injections), str(options.frames), str(options.seed)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    result = json.loads(done.stdout)
    options.json.write_text(done.stdout)
    text = table(result)
    print(text)
    if options.markdown is not None:
        options.markdown.write_text(text)
    if not result["kept"]:
        print("a promised row does not hold", file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
