"""Guesses make the planner faster and change nothing that it writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_planner import TinyPlanner, convert_tiny

from edge.api import Call, Outcome, Transcript
from edge.planner.drafts import Guesses, by_likelihood
from edge.planner.planner import Planner
from edge.planner.prompt import Specials, prefix_ids, suffix_ids
from edge.planner.sampler import GrammarSampler
from edge.planner.session import CONTEXT_TOKENS, Session
from edge.planner.writer import write
from edge.tabletop import API

ROOT = Path(__file__).parents[1]
CALLS = tuple(API.calls())
TASK = "put the red cube on the blue plate"
PICKED: Transcript = ((Call("pick", ("red cube",)), Outcome.OK),)
PLACED: Transcript = (*PICKED, (Call("place_on", ("blue plate",)), Outcome.OK))


# --- what is likely --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "transcript", "likeliest"),
    [
        (TASK, (), 'pick("red cube")'),
        (TASK, PICKED, 'place_on("blue plate")'),
        ("stack green on red", (), 'pick("green cube")'),
        ("stack green on red", ((Call("pick", ("green cube",)), Outcome.OK),), 'place_on("red cube")'),
        (TASK, ((Call("pick", ("red cube",), (3, 7)), Outcome.MISSED),), 'pick("red cube")'),
        ("tidy up", (), "place_free()"),
        ("put the red one on the blue plate", (), 'place_on("blue plate")'),
    ],
)
def test_the_task_and_what_was_done_say_what_comes_next(task: str, transcript: Transcript, likeliest: str) -> None:
    assert str(by_likelihood(CALLS, task, transcript)[0]) == likeliest


transcripts = st.lists(st.tuples(st.sampled_from(CALLS), st.sampled_from(Outcome)), max_size=6).map(tuple)


@given(st.text(max_size=80), transcripts)
def test_every_call_stays_possible(task: str, transcript: Transcript) -> None:
    ordered = by_likelihood(CALLS, task, transcript)
    assert len(ordered) == len(CALLS)
    assert set(ordered) == set(CALLS)


def test_a_guess_goes_on_where_the_answer_is() -> None:
    guesses = Guesses(((1, 2, 3), (1, 4), (5,)))
    assert guesses.after([]) == (1, 2, 3)
    assert guesses.after([1, 4]) == ()
    assert guesses.after([5]) == ()
    assert guesses.after([1]) == (2, 3)
    assert guesses.after([6]) == guesses.after([1, 2, 3, 4]) == ()
    assert Guesses().after([]) == ()


# --- what it changes -------------------------------------------------------------------------------------------------


class Bench:
    """A small planner with random weights, and what it writes without a guess for two pictures."""

    def __init__(self, tiny: TinyPlanner) -> None:
        self.session = Session(tiny.model, tiny.mmproj, image_size=192)
        vocabulary = self.session.vocabulary
        self.encode, specials = vocabulary.encode, Specials.of(vocabulary.special)
        self.sampler = GrammarSampler(vocabulary, API.grammar())
        self.session.keep_prefix(prefix_ids(API, self.encode, specials))
        self.suffix = suffix_ids(API, self.encode, specials, TASK, PICKED)
        pictures = (np.random.default_rng(seed).integers(0, 256, (192, 192, 3), np.uint8) for seed in range(2))
        self.images = [self.session.encode_image(picture) for picture in pictures]
        self.asked = 0
        decode = self.session._submit

        def counted(*batch: object) -> None:
            self.asked += 1
            decode(*batch)  # type: ignore[arg-type]

        self.session._submit = counted  # type: ignore[method-assign]
        self.alone = [self.write(image, Guesses()) for image in self.images]

    def write(self, image: NDArray[np.float32], guesses: Guesses) -> tuple[list[int], NDArray[np.float32], int]:
        """Tokens, their logits, and the number of decodes after the image's."""
        self.asked = -1
        pairs = list(write(self.session, self.sampler, image, self.suffix, guesses))
        return [token for token, _ in pairs], np.array([logits for _, logits in pairs]), self.asked


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(convert_tiny(tmp_path_factory.mktemp("planner")))
    yield made
    made.sampler.close()
    made.session.close()


def test_without_a_guess_every_token_is_a_decode(bench: Bench) -> None:
    for tokens, _, decodes in bench.alone:
        assert decodes == len(tokens)


def test_a_right_guess_takes_one_decode(bench: Bench) -> None:
    for image, (tokens, logits, _) in zip(bench.images, bench.alone, strict=True):
        guessed, seen, decodes = bench.write(image, Guesses((tuple(tokens[:-1]),)))
        assert (guessed, decodes) == (tokens, 1)
        assert np.allclose(seen, logits, atol=1e-3 * np.abs(logits).max())


def test_a_wrong_guess_is_taken_back_and_another_one_follows(bench: Bench) -> None:
    tokens, _, _ = bench.alone[0]
    wrong = tuple(bench.encode('place_at("purple cube")'))
    assert wrong[0] != tokens[0]
    guessed, _, decodes = bench.write(bench.images[0], Guesses((wrong, tuple(tokens[:-1]))))
    assert (guessed, decodes) == (tokens, 2)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_guess_changes_the_answer(bench: Bench, data: st.DataObject) -> None:
    which = data.draw(st.sampled_from((0, 1)))
    tokens, logits, _ = bench.alone[which]
    token = st.integers(0, bench.session.vocabulary.size - 1) | st.sampled_from(tokens)
    part = st.integers(0, len(tokens)).map(lambda count: tokens[:count])
    answer = st.tuples(part, st.lists(token, max_size=6)).map(lambda both: (*both[0], *both[1]))
    guesses = Guesses(tuple(data.draw(st.lists(answer, max_size=4))))
    guessed, seen, _ = bench.write(bench.images[which], guesses)
    assert guessed == tokens
    assert np.allclose(seen, logits, atol=1e-3 * np.abs(logits).max())


def test_the_reference_planner_writes_the_same_in_fewer_decodes() -> None:
    reference = ROOT / "models/reference"
    picture = np.random.default_rng(0).integers(0, 256, (192, 192, 3), np.uint8)
    with Planner(API, reference / "planner.gguf", reference / "planner-mmproj.gguf") as planner:
        decode, asked = planner._session._submit, 0

        def counted(*batch: object) -> None:
            nonlocal asked
            asked += 1
            decode(*batch)  # type: ignore[arg-type]

        planner._session._submit = counted  # type: ignore[method-assign]

        def plans() -> tuple[list[tuple[str, int]], int]:
            nonlocal asked
            asked = 0
            made = [planner.next_call(picture, TASK, done) for done in ((), PICKED, PLACED)]
            return [(plan.raw_text, plan.tokens) for plan in made], asked

        guessed, fewer = plans()
        planner._drafts.guesses = lambda *_: Guesses()  # type: ignore[method-assign]
        alone, decodes = plans()
    assert guessed == alone
    assert decodes == sum(tokens + 1 for _, tokens in alone)
    assert fewer < decodes / 2


def test_a_guess_beyond_the_context_is_cut_off(bench: Bench) -> None:
    session = bench.session
    room = CONTEXT_TOKENS - len(session._prefix) - len(bench.images[0])
    assert len(session.start_drafted(bench.images[0], [5] * (room - 3), [6] * 10)) == 4
    assert len(session.start_drafted(bench.images[0], [5] * (room - 3), [6])) == 2
    assert len(session.steps([7] * 9)) == 2
