"""How long the planner takes, and against what: side by side in one run, in rounds that take turns.

    python benchmarks/planner.py models/reference --checkpoint checkpoints/planner

Warm re-plan: what `edge run` does; the static prompt stays in the cache and the image is encoded once. Cold re-plan:
the prompt is decoded from its beginning and both of the layout's images are encoded, as the chat handlers of
llama-cpp-python do on every call. With `--checkpoint` the same planner also runs in transformers. All write one call.

Ratios are medians of the rounds' own ratios, so that a busy machine disturbs both sides of one alike. With `--cpu-time`
everything is counted in processor time of this process: on a machine that others use, a clock measures mostly them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Every library gets one thread unless told otherwise: they would fight over the cores. Before numpy is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.planner_rivals import Memory, RawLlama, Transformers
from edge.api import Outcome
from edge.planner.planner import Planner
from edge.planner.prompt import Specials, prefix_ids, suffix_ids
from edge.planner.sampler import GrammarSampler
from edge.planner.session import Session
from edge.tabletop import API
from export.planner_cases import Case, load_cases

TASK = "swap the red cube and the green cube"
TRANSCRIPT = tuple((API.parse(text), Outcome.OK) for text in ('pick("red cube")', "place_free()", 'pick("green cube")'))
ANSWERS = ("answer, grammar", "answer, no grammar", "answer, raw llama.cpp")
Times = dict[str, list[float]]


class Bench:
    """The planner taken apart, and its rivals. `clock` gives seconds."""

    def __init__(
        self, directory: Path, checkpoint: Path | None, case: Case, threads: int, clock: Callable[[], float]
    ) -> None:
        self.clock, self.turn = clock, 0
        files = directory / "planner.gguf", directory / "planner-mmproj.gguf"
        self.case, self.bytes = case, files[0].stat().st_size
        size = case.image.shape[0]
        self.planner = Planner(API, *files, image_size=size, threads=threads)
        self.session = Session(*files, image_size=size, threads=threads)
        vocabulary = self.session.vocabulary
        encode, specials = vocabulary.encode, Specials.of(vocabulary.special)
        self.sampler = GrammarSampler(vocabulary, API.grammar())
        self.prefix = prefix_ids(API, encode, specials)
        self.suffix = suffix_ids(API, encode, specials, case.task, case.transcript)
        self.call = self.planner.next_call(case.image, case.task, case.transcript).raw_text
        self.tokens = [*encode(self.call), specials.end]
        self.embeddings = self.session.encode_image(case.image)
        self.session.keep_prefix(self.prefix)
        self.raw = RawLlama(files[0], threads, clock)
        self.before = len(self.prefix) + len(self.embeddings) + len(self.suffix)
        self.transformers = None if checkpoint is None else Transformers(checkpoint, threads)
        self.memory = Memory(clock)

    def timed(self, work: Callable[[], object]) -> float:
        """Milliseconds."""
        begin = self.clock()
        work()
        return (self.clock() - begin) * 1e3

    def warm(self) -> None:
        """What the robot does."""
        self.planner.next_call(self.case.image, self.case.task, self.case.transcript)

    def cold(self) -> None:
        """Everything from the beginning, the image twice."""
        self.session.keep_prefix(self.prefix)
        self.session.encode_image(self.case.image)
        self.answer(grammar=True, start=lambda: self.session.encode_image(self.case.image))

    def answer(self, *, grammar: bool, start: Callable[[], np.ndarray] | None = None) -> float:
        """Milliseconds of the answer alone, the prompt not counted; the same tokens with a grammar and without."""
        logits = self.session.start(self.embeddings if start is None else start(), self.suffix)
        begin = self.clock()
        if grammar:
            self.sampler.reset()
        for token in self.tokens:
            chosen = self.sampler.choose(logits) if grammar else int(logits.argmax())
            if chosen != token:
                raise SystemExit(f"token {chosen} where the planner wrote {token}: two calls cannot be compared")
            logits = self.session.step(token)
        return (self.clock() - begin) * 1e3

    def decoded(self, name: str) -> float:
        """Milliseconds of one of `ANSWERS`."""
        if name == ANSWERS[2]:
            return self.raw.decode(self.before, self.tokens) * 1e3
        return self.answer(grammar=name == ANSWERS[0])

    def in_transformers(self) -> None:
        """The same call from the same checkpoint."""
        assert self.transformers is not None
        text = self.transformers.answer(API, self.case)
        if text != self.call:
            raise SystemExit(f"transformers writes {text!r}, the planner {self.call!r}")

    def round(self) -> dict[str, float]:
        """Each row once: milliseconds, and bytes a second for memory."""
        rows = {
            "warm re-plan": self.timed(self.warm),
            "cold re-plan": self.timed(self.cold),
            "static prefix": self.timed(lambda: self.session.keep_prefix(self.prefix)),
            "image encode": self.timed(lambda: self.session.encode_image(self.case.image)),
            "image and task text": self.timed(lambda: self.session.start(self.embeddings, self.suffix)),
        }
        # What comes first finds colder caches: they take turns.
        self.turn = (self.turn + 1) % 3
        for name in (*ANSWERS[self.turn :], *ANSWERS[: self.turn]):
            rows[name] = self.decoded(name)
        if self.transformers is not None:
            rows["transformers"] = self.timed(self.in_transformers)
        rows["memory"] = self.memory.bytes_per_s()
        return rows

    def close(self) -> None:
        """Free everything."""
        self.planner.close()
        self.sampler.close()
        self.session.close()
        self.raw.close()


def show(bench: Bench, times: Times) -> None:
    """The table and the ratios."""
    count = len(bench.tokens)
    print(f"{'':24} {'median ms':>9} {'mean':>9} {'worst':>9}")
    for name, row in times.items():
        if name != "memory":
            print(f"{name:24} {statistics.median(row):9.2f} {statistics.mean(row):9.2f} {max(row):9.2f}")

    def ratio(above: str, below: str) -> float:
        return statistics.median(a / b for a, b in zip(times[above], times[below], strict=True))

    rate = [count / time * 1e3 for time in times["answer, grammar"]]
    bound = [speed / bench.bytes for speed in times["memory"]]
    print(f"\n{bench.call}: {count} tokens, {len(bench.prefix)} + {len(bench.embeddings)} + {len(bench.suffix)} before")
    print(f"warm / cold re-plan            {ratio('cold re-plan', 'warm re-plan'):6.2f} times as fast")
    extra = [a - b for a, b in zip(times["answer, grammar"], times["answer, no grammar"], strict=True)]
    whole = 100 * statistics.median(e / (w - e) for e, w in zip(extra, times["warm re-plan"], strict=True))
    answer = 100 * (ratio("answer, grammar", "answer, no grammar") - 1)
    print(f"grammar's overhead             {whole:6.1f} % of a re-plan (asked < 10), {answer:.1f} % of its answer")
    rates = [100 * ratio("answer, raw llama.cpp", name) for name in ("answer, grammar", "answer, no grammar")]
    print(f"token rate / raw llama.cpp's   {rates[0]:6.1f} % with the grammar, {rates[1]:.1f} % without (asked ≥ 90)")
    if "transformers" in times:
        print(f"re-plan / transformers         {ratio('transformers', 'warm re-plan'):6.2f} times as fast  (asked ≥ 5)")
    print(
        f"token rate                     {statistics.median(rate):6.0f} a second, "
        f"{100 * statistics.median(a / b for a, b in zip(rate, bound, strict=True)):.0f} % of memory bandwidth "
        f"({statistics.median(times['memory']) / 1e9:.1f} GB/s) / file size ({bench.bytes / 1e6:.2f} MB)"
    )


def main() -> None:
    """Measure one bundle directory, or the directory that `python -m export planner` wrote."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="holds planner.gguf and planner-mmproj.gguf")
    parser.add_argument("--checkpoint", type=Path, help="what the files were exported from, to run it in transformers")
    parser.add_argument("--cases", type=Path, help="the one with the longest call is asked (default: a swap)")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu-time", action="store_true", help="processor time instead of the clock's")
    options = parser.parse_args()
    noise = np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)
    case = Case(noise, TASK, TRANSCRIPT)
    if options.cases:
        case = max(load_cases(options.cases, API), key=lambda case: len(str(case.call)))
    clock = time.process_time if options.cpu_time else time.perf_counter
    bench = Bench(options.directory, options.checkpoint, case, options.threads, clock)
    bench.round()
    times: Times = {}
    for _ in range(options.runs):
        for name, value in bench.round().items():
            times.setdefault(name, []).append(value)
    counted = "processor time" if options.cpu_time else "time"
    print(f"{options.runs} rounds, {options.threads} thread(s), {counted}, load {os.getloadavg()[0]:.1f}")
    show(bench, times)
    bench.close()


if __name__ == "__main__":
    main()
