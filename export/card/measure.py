"""How fast a bundle is on this machine, and how much memory it takes: by the runtime's own classes, in a fresh process.

python -m export.card.measure BUNDLE

A process of its own starts without what the caller has loaded, so that its memory is the bundle's, and a library that
crashes on a file takes nobody along.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from edge.api import Outcome, RobotApi
from edge.errors import EdgeError
from edge.manifest import Bundle, load
from edge.records import read
from export.errors import ExportError

EVALUATIONS = 200
PLANS = 30
CAMERA = (480, 640)
"""Height and width of the pictures shown: what a USB camera delivers, so that cropping and resizing count."""
TASK = "swap the red cube and the green cube"
_LIMIT_S = 300
_UNHURRIED_MS = 60_000.0


@dataclass(frozen=True)
class Timing:
    """One duration, measured `n` times; milliseconds."""

    part: str
    what: str
    n: int
    p50: float
    p99: float
    worst: float


@dataclass(frozen=True)
class Measured:
    """What was measured, and on what.

    Attributes:
        machine: Rows of name and text: processor, cores, load, libraries.
        threads: Of each backend.
        backend: What ran the policy.
        note: Why it was not a faster one; may be empty.
        timings: In the order of the card.
        memory_mb: By how much the process grew (10⁶ bytes) when it loaded the bundle and used it, files included.
        process_mb: The largest resident set of the whole process.
        answer_tokens: Tokens of the answers that were timed, the end included; None without a planner.
    """

    machine: dict[str, str]
    threads: int
    backend: str
    note: str
    timings: tuple[Timing, ...]
    memory_mb: float
    process_mb: float
    answer_tokens: float | None = None

    def timing(self, part: str, what: str) -> Timing | None:
        """One of the timings."""
        return next((row for row in self.timings if (row.part, row.what) == (part, what)), None)


def measure(path: Path, threads: int = 1) -> Measured:
    """Measures a bundle, about ten seconds for the reference one.

    Args:
        path: A bundle whose files were verified.
        threads: Compute threads of each backend; `edge run` uses one unless told otherwise.

    Raises:
        ExportError: It does not run here; quotes why.
    """
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "export.card.measure", str(path.resolve()), "--threads", str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=root, timeout=_LIMIT_S, env=environment
        )
    except subprocess.TimeoutExpired as problem:
        fix = "stop what else runs here, or leave it out with --no-latency"
        raise ExportError("measuring takes too long", expected=f"{_LIMIT_S} s at most", fix=fix) from problem
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise ExportError("the bundle cannot be run", got=f"{name} in a library", fix="export its parts again")
    if done.returncode != 0:
        raise ExportError("the bundle cannot be run", got=_one_line(done.stderr), fix="export its parts again")
    return read(Measured, json.loads(done.stdout.splitlines()[-1]), "what was measured", ExportError)


def _one_line(text: str) -> str:
    """What a process said last, without line breaks: a typed error is a few lines."""
    return ", ".join(line.strip() for line in text.strip().splitlines()[-6:])[:600] or "no word"


def timing(part: str, what: str, times_ms: Sequence[float]) -> Timing:
    """Sums up durations."""
    p50, p99, worst = (float(value) for value in np.percentile(times_ms, [50, 99, 100]))
    return Timing(part, what, len(times_ms), p50, p99, worst)


def _measure_here(bundle: Bundle, api: RobotApi, threads: int) -> dict[str, Any]:
    # Libraries are loaded first: what they take is not the bundle's.
    import cv2  # noqa: F401
    import onnxruntime  # noqa: F401

    from edge.policy.policy import Policy

    if bundle.manifest.planner is not None:
        from edge.planner.native import libraries

        libraries()
    before = _resident("VmRSS")
    load = os.getloadavg()[0]
    rows, tokens = [], None
    begin = time.perf_counter()
    policy = Policy.load(bundle, api, threads=threads)
    rows.append(timing("policy", "load", [(time.perf_counter() - begin) * 1e3]))
    rows.append(timing("policy", "evaluation", _evaluations_ms(policy, api)))
    if bundle.manifest.planner is not None:
        more, tokens = _planner(bundle, api, threads)
        rows += more
    grown, whole = _resident("VmHWM") - before, _resident("VmHWM")
    if bundle.manifest.planner is not None:
        rows += _planner_in_parts(bundle, api, threads)
    return {
        "machine": _machine(load), "threads": threads, "backend": policy.backend_name, "note": policy.backend_note,
        "timings": [vars(row) for row in rows], "memory_mb": grown, "process_mb": whole, "answer_tokens": tokens,
    }  # fmt: skip


def _evaluations_ms(policy: Any, api: RobotApi) -> list[float]:
    from edge.types import Frame, Observation

    rng, times = np.random.default_rng(0), []
    call = api.encode(next(api.calls()))
    for number in range(EVALUATIONS + 1):
        image = rng.integers(0, 256, (*CAMERA, 3), dtype=np.uint8)
        frames = {name: Frame(name, image, number) for name in policy.contract.cameras}
        policy.infer(Observation(number * 10_000_000, frames, np.zeros(6)), call, None)
        times.append(policy.last_ms)
    return times[1:]


def _asked(bundle: Bundle, api: RobotApi) -> tuple[Any, Any]:
    """An image as the planner gets it, and a transcript of a task under way."""
    size = bundle.manifest.images.planner
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    calls = [call for _, call in zip(range(2), api.calls(), strict=False)]
    return image, tuple((call, Outcome.OK) for call in calls)


def _planner(bundle: Bundle, api: RobotApi, threads: int) -> tuple[list[Timing], float]:
    """The planner as `edge run` uses it."""
    from edge.planner.planner import Budget, Planner

    image, transcript = _asked(bundle, api)
    begin = time.perf_counter()
    with Planner(
        api, *_halves(bundle), image_size=len(image), threads=threads, budget=Budget(milliseconds=_UNHURRIED_MS)
    ) as planner:
        loaded = (time.perf_counter() - begin) * 1e3
        planner.next_call(image, TASK, transcript)
        plans, whole = [], []
        for _ in range(PLANS):
            begin = time.perf_counter()
            plans.append(planner.next_call(image, TASK, transcript))
            whole.append((time.perf_counter() - begin) * 1e3)
    return [
        timing("planner", "load", [loaded]),
        timing("planner", "image encode", [plan.encode_ms for plan in plans]),
        timing("planner", "re-plan, warm", whole),
    ], float(np.mean([plan.tokens for plan in plans]))


def _planner_in_parts(bundle: Bundle, api: RobotApi, threads: int) -> list[Timing]:
    """A re-plan whose prompt is decoded from its beginning, and single tokens of an answer."""
    from edge.planner.drafts import Drafts
    from edge.planner.prompt import Specials, prefix_ids, suffix_ids
    from edge.planner.sampler import GrammarSampler
    from edge.planner.session import Session
    from edge.planner.writer import write

    image, transcript = _asked(bundle, api)
    with Session(*_halves(bundle), image_size=len(image), threads=threads) as session:
        vocabulary = session.vocabulary
        specials = Specials.of(vocabulary.special)
        prefix = prefix_ids(api, vocabulary.encode, specials)
        suffix = suffix_ids(api, vocabulary.encode, specials, TASK, transcript)
        guesses = Drafts(api, vocabulary.encode).guesses(TASK, transcript)
        sampler = GrammarSampler(vocabulary, api.grammar())
        cold, single = list[float](), list[float]()
        try:
            for _ in range(PLANS + 1):
                begin = time.perf_counter()
                session.keep_prefix(prefix)
                embeddings = session.encode_image(image)
                answer = [token for token, _ in write(session, sampler, embeddings, suffix, guesses)]
                cold.append((time.perf_counter() - begin) * 1e3)
                session.start(embeddings, suffix)
                for token in answer:
                    begin = time.perf_counter()
                    session.step(token)
                    single.append((time.perf_counter() - begin) * 1e3)
        finally:
            sampler.close()
    return [timing("planner", "re-plan, cold", cold[1:]), timing("planner", "one token", single[len(answer) :])]


def _halves(bundle: Bundle) -> tuple[Path, Path]:
    part = bundle.manifest.planner
    if part is None:
        raise ExportError("the bundle has no planner")
    return bundle.file(part.model), bundle.file(part.projector)


def _machine(load: float) -> dict[str, str]:
    """What the figures depend on. `load` is that of the last minute before the measuring."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    cores, usable = os.cpu_count() or 1, len(os.sched_getaffinity(0))
    versions = [f"{name} {metadata.version(name)}" for name in ("onnxruntime", "llama-cpp-python", "numpy")]
    return {
        "processor": _processor(),
        "cores": str(cores) if usable == cores else f"{usable} of {cores}",
        "memory": f"{memory:.1f} GB",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}, Python {platform.python_version()}",
        "libraries": ", ".join(versions),
        "load before": f"{load:.1f}",
        "measured": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _processor() -> str:
    board = Path("/proc/device-tree/model")
    if board.is_file():
        return board.read_text(errors="replace").strip("\0\n ")
    for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _resident(key: str) -> float:
    """Megabytes (10⁶ bytes) that the kernel says of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return float(value.split()[0]) * 1024 / 1e6
    raise ExportError("memory cannot be measured here", expected=f"{key} in /proc/self/status")


def main() -> int:
    """Measure, and print one line of JSON."""
    from edge.tabletop import API

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    try:
        print("\n" + json.dumps(_measure_here(load(chosen.bundle), API, chosen.threads)))
    except EdgeError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
