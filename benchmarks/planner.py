"""How long the planner takes: a re-plan on the kept prefix, the same without it, and what a cold start costs.

    python benchmarks/planner.py models/reference

Cold re-plan: the prompt is decoded from its beginning and both of the layout's images are encoded, as the chat handlers
of llama-cpp-python do on every call. Warm re-plan: what `edge run` does. Both write the same call.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edge.api import Call, Outcome
from edge.planner.planner import Planner
from edge.planner.prompt import Specials, prefix_ids, suffix_ids
from edge.planner.session import Session
from edge.tabletop import API

TASK = "swap the red cube and the green cube"
TRANSCRIPT = tuple((API.parse(text), Outcome.OK) for text in ('pick("red cube")', "place_free()", 'pick("green cube")'))


def measure(name: str, runs: int, work: Callable[[], object]) -> None:
    """Print mean, median and worst of some runs, after one that is not counted."""
    work()
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1e3)
    print(f"{name:24} {statistics.mean(times):8.1f} {statistics.median(times):8.1f} {max(times):8.1f}")


def main() -> None:
    """Measure one bundle directory, or the directory that `python -m export planner` wrote."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="holds planner.gguf and planner-mmproj.gguf")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    files = options.directory / "planner.gguf", options.directory / "planner-mmproj.gguf"
    image = np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)

    def open_and_close() -> None:
        Planner(API, *files, threads=options.threads).close()

    print(f"{options.runs} runs, {options.threads} thread(s)   mean ms   median    worst")
    measure("open the planner", max(3, options.runs // 10), open_and_close)
    with Planner(API, *files, threads=options.threads) as planner:

        def warm() -> Call:
            return planner.next_call(image, TASK, TRANSCRIPT).call

        measure("warm re-plan", options.runs, warm)
        call = warm()
    with Session(*files, image_size=192, threads=options.threads) as session:
        encode, specials = session.vocabulary.encode, Specials.of(session.vocabulary.special)
        prefix, suffix = prefix_ids(API, encode, specials), suffix_ids(API, encode, specials, TASK, TRANSCRIPT)
        answer = encode(API.format(call))
        embeddings = session.encode_image(image)

        def cold() -> None:
            session.keep_prefix(prefix)
            session.encode_image(image)
            session.start(session.encode_image(image), suffix)
            for token in answer:
                session.step(token)

        measure("cold re-plan", options.runs, cold)
        session.keep_prefix(prefix)
        measure("  static prefix", options.runs, lambda: session.keep_prefix(prefix))
        measure("  one image encode", options.runs, lambda: session.encode_image(image))
        measure("  image and task text", options.runs, lambda: session.start(embeddings, suffix))

        def one_token() -> None:
            session.step(answer[0])

        measure("  one answer token", min(options.runs, 100), one_token)


if __name__ == "__main__":
    main()
