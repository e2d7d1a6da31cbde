"""How long the planner takes, and against what: side by side in one run, in rounds that take turns.

    python benchmarks/planner.py models/reference --checkpoint checkpoints/planner

Warm re-plan: what `edge run` does; the static prompt stays in the cache, the image is encoded once, and tokens of the
answer that can be guessed are decoded together. Cold re-plan: the prompt is decoded from its beginning, both of the
layout's images are encoded, as the chat handlers of llama-cpp-python do on every call, and tokens come one by one. With
`--checkpoint` the same planner also runs in transformers. All write the same call; each round asks another question.

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
from dataclasses import dataclass
from pathlib import Path

# Every library gets one thread unless told otherwise: they would fight over the cores. Before numpy is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.planner_rivals import Memory, RawLlama, Transformers
from edge.api import Outcome
from edge.planner.drafts import Drafts, Guesses
from edge.planner.planner import Planner
from edge.planner.prompt import Specials, prefix_ids, suffix_ids
from edge.planner.sampler import GrammarSampler
from edge.planner.session import Session
from edge.planner.writer import write
from edge.tabletop import API
from export.planner_cases import Case, load_cases

TASK = "swap the red cube and the green cube"
TRANSCRIPT = tuple((API.parse(text), Outcome.OK) for text in ('pick("red cube")', "place_free()", 'pick("green cube")'))
QUESTIONS = 24
GUESSED = "answer, guessed"
ANSWERS = ("answer, grammar", "answer, no grammar", "answer, raw llama.cpp")
Times = dict[str, list[float]]


@dataclass(frozen=True)
class Question:
    """A case, and what the planner makes of it; `call` is its answer."""

    case: Case
    suffix: list[int]
    guesses: Guesses
    embeddings: NDArray[np.float32]
    call: str
    tokens: list[int]


class Bench:
    """The planner taken apart, and its rivals. `clock` gives seconds. A round asks one of the cases, in turn."""

    def __init__(
        self, directory: Path, checkpoint: Path | None, cases: list[Case], threads: int, clock: Callable[[], float]
    ) -> None:
        self.clock, self.turn = clock, 0
        files = directory / "planner.gguf", directory / "planner-mmproj.gguf"
        self.bytes = files[0].stat().st_size
        size = cases[0].image.shape[0]
        self.planner = Planner(API, *files, image_size=size, threads=threads)
        self.session = Session(*files, image_size=size, threads=threads)
        vocabulary = self.session.vocabulary
        self.specials = Specials.of(vocabulary.special)
        self.drafts = Drafts(API, vocabulary.encode)
        self.sampler = GrammarSampler(vocabulary, API.grammar())
        self.prefix = prefix_ids(API, vocabulary.encode, self.specials)
        self.questions = [self._question(case) for case in cases]
        self.asked = self.questions[0]
        self.session.keep_prefix(self.prefix)
        self.raw = RawLlama(files[0], threads, clock)
        self.transformers = None if checkpoint is None else Transformers(checkpoint, threads)
        self.memory = Memory(clock)

    def _question(self, case: Case) -> Question:
        encode = self.session.vocabulary.encode
        call = self.planner.next_call(case.image, case.task, case.transcript).raw_text
        return Question(
            case,
            suffix_ids(API, encode, self.specials, case.task, case.transcript),
            self.drafts.guesses(case.task, case.transcript),
            self.session.encode_image(case.image),
            call,
            [*encode(call), self.specials.end],
        )

    def timed(self, work: Callable[[], object]) -> float:
        """Milliseconds."""
        begin = self.clock()
        work()
        return (self.clock() - begin) * 1e3

    def warm(self) -> None:
        """What the robot does."""
        case = self.asked.case
        self.planner.next_call(case.image, case.task, case.transcript)

    def cold(self) -> None:
        """Everything from the beginning, the image twice."""
        self.session.keep_prefix(self.prefix)
        self.session.encode_image(self.asked.case.image)
        self.answer(grammar=True, start=lambda: self.session.encode_image(self.asked.case.image))

    def answer(self, *, grammar: bool, start: Callable[[], np.ndarray] | None = None) -> float:
        """Milliseconds of the answer alone, the prompt not counted; the same tokens with a grammar and without."""
        asked = self.asked
        logits = self.session.start(asked.embeddings if start is None else start(), asked.suffix)
        begin = self.clock()
        if grammar:
            self.sampler.reset()
        for token in asked.tokens:
            chosen = self.sampler.choose(logits) if grammar else int(logits.argmax())
            if chosen != token:
                raise SystemExit(f"token {chosen} where the planner wrote {token}: two calls cannot be compared")
            logits = self.session.step(token)
        return (self.clock() - begin) * 1e3

    def decoded(self, name: str) -> float:
        """Milliseconds of one of `ANSWERS`."""
        if name == ANSWERS[2]:
            before = len(self.prefix) + len(self.asked.embeddings) + len(self.asked.suffix)
            return self.raw.decode(before, self.asked.tokens) * 1e3
        return self.answer(grammar=name == ANSWERS[0])

    def prompt_and_answer(self) -> None:
        """As the robot writes it: what the task makes likely is decoded with the prompt."""
        asked = self.asked
        written = write(self.session, self.sampler, asked.embeddings, asked.suffix, asked.guesses)
        tokens = [token for token, _ in written]
        if tokens != asked.tokens:
            raise SystemExit(f"tokens {tokens} where the planner wrote {asked.tokens}")

    def in_transformers(self) -> None:
        """The same call from the same checkpoint."""
        assert self.transformers is not None
        text = self.transformers.answer(API, self.asked.case)
        if text != self.asked.call:
            raise SystemExit(f"transformers writes {text!r}, the planner {self.asked.call!r}")

    def round(self) -> dict[str, float]:
        """Each row once: milliseconds, and bytes a second for memory."""
        self.turn += 1
        self.asked = asked = self.questions[self.turn % len(self.questions)]
        rows = {
            "warm re-plan": self.timed(self.warm),
            "cold re-plan": self.timed(self.cold),
            "static prefix": self.timed(lambda: self.session.keep_prefix(self.prefix)),
            "image encode": self.timed(lambda: self.session.encode_image(asked.case.image)),
            "image and task text": self.timed(lambda: self.session.start(asked.embeddings, asked.suffix)),
        }
        rows[GUESSED] = self.timed(self.prompt_and_answer) - rows["image and task text"]
        # What comes first finds colder caches: they take turns.
        first = self.turn % 3
        for name in (*ANSWERS[first:], *ANSWERS[:first]):
            rows[name] = self.decoded(name)
        if self.transformers is not None:
            rows["transformers"] = self.timed(self.in_transformers)
        rows["memory"] = self.memory.bytes_per_s()
        rows["tokens"] = len(asked.tokens)
        return rows

    def close(self) -> None:
        """Free everything."""
        self.planner.close()
        self.sampler.close()
        self.session.close()
        self.raw.close()


def show(bench: Bench, times: Times) -> None:
    """The table and the ratios."""
    print(f"{'':24} {'median ms':>9} {'mean':>9} {'worst':>9}")
    for name, row in times.items():
        if name not in ("memory", "tokens"):
            print(f"{name:24} {statistics.median(row):9.2f} {statistics.mean(row):9.2f} {max(row):9.2f}")

    def ratio(above: str, below: str) -> float:
        return statistics.median(a / b for a, b in zip(times[above], times[below], strict=True))

    # The difference of two rows can be negative in a round, in the sum of all it is what it is.
    robot = 100 * sum(times["answer, raw llama.cpp"]) / sum(times[GUESSED])
    rate = [count / time * 1e3 for count, time in zip(times["tokens"], times["answer, grammar"], strict=True)]
    bound = [speed / bench.bytes for speed in times["memory"]]
    texts = [len(question.suffix) for question in bench.questions]
    image = len(bench.asked.embeddings)
    print(
        f"\n{len(bench.questions)} questions, {statistics.mean(times['tokens']):.1f} tokens an answer; "
        f"before it {len(bench.prefix)} + {image} + {min(texts)} to {max(texts)}"
    )
    print(f"warm / cold re-plan            {ratio('cold re-plan', 'warm re-plan'):6.2f} times as fast")
    extra = [a - b for a, b in zip(times["answer, grammar"], times["answer, no grammar"], strict=True)]
    whole = 100 * statistics.median(e / (w - e) for e, w in zip(extra, times["warm re-plan"], strict=True))
    answer = 100 * (ratio("answer, grammar", "answer, no grammar") - 1)
    print(f"grammar's overhead             {whole:6.1f} % of a re-plan (asked < 10), {answer:.1f} % of its answer")
    rates = [100 * ratio("answer, raw llama.cpp", name) for name in ("answer, grammar", "answer, no grammar")]
    print(f"token rate / raw llama.cpp's   {robot:6.1f} % as the robot writes (asked ≥ 90)")
    print(f"{'':30} {rates[0]:6.1f} % token by token, {rates[1]:.1f} % without the grammar")
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
    parser.add_argument("--cases", type=Path, help=f"{QUESTIONS} of them are asked in turn (default: one of a swap)")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu-time", action="store_true", help="processor time instead of the clock's")
    options = parser.parse_args()
    noise = np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)
    cases = [Case(noise, TASK, TRANSCRIPT)]
    if options.cases:
        known = load_cases(options.cases, API)
        cases = known[:: max(1, len(known) // QUESTIONS)][:QUESTIONS]
    clock = time.process_time if options.cpu_time else time.perf_counter
    bench = Bench(options.directory, options.checkpoint, cases, options.threads, clock)
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
