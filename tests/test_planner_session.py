"""The planner in llama.cpp: keeping the prefix changes nothing, the grammar always holds, failures are typed."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_planner import TinyPlanner, convert_tiny

from edge.api import Call, Outcome, RobotApi
from edge.errors import PlannerError, TaskError
from edge.planner import native
from edge.planner.planner import Budget, Planner
from edge.planner.prompt import Specials, prefix_ids, suffix_ids
from edge.planner.sampler import GrammarSampler
from edge.planner.session import CONTEXT_TOKENS, Session
from edge.tabletop import API

TRANSCRIPT = ((Call("pick", ("red cube",)), Outcome.OK), (Call("place_free"), Outcome.LOST))
TASK = "swap the red cube and the green cube"


def picture(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (192, 192, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyPlanner:
    return convert_tiny(tmp_path_factory.mktemp("planner"))


@pytest.fixture
def session(tiny: TinyPlanner) -> Iterator[Session]:
    with Session(tiny.model, tiny.mmproj, image_size=192) as opened:
        yield opened


def first_logits(session: Session, seed: int, task: str = TASK) -> NDArray[np.float32]:
    encode, specials = session.vocabulary.encode, Specials.of(session.vocabulary.special)
    return session.start(session.encode_image(picture(seed)), suffix_ids(API, encode, specials, task, TRANSCRIPT))


def keep(session: Session) -> None:
    session.keep_prefix(prefix_ids(API, session.vocabulary.encode, Specials.of(session.vocabulary.special)))


def test_a_plan_on_the_kept_prefix_equals_a_cold_one_bit_for_bit(tiny: TinyPlanner, session: Session) -> None:
    keep(session)
    for seed in (5, 6, 7):  # other pictures, other tasks, other lengths before it
        session.step(int(first_logits(session, seed, TASK + " now" * seed).argmax()))
    warm = first_logits(session, 1)
    with Session(tiny.model, tiny.mmproj, image_size=192) as cold:
        keep(cold)
        assert np.array_equal(first_logits(cold, 1), warm)


def test_picture_task_and_prefix_all_reach_the_logits(session: Session) -> None:
    keep(session)
    base = first_logits(session, 1)
    assert not np.array_equal(first_logits(session, 2), base)
    assert not np.array_equal(first_logits(session, 1, "stack them"), base)
    session.keep_prefix(session.vocabulary.encode("another prompt"))
    assert not np.array_equal(first_logits(session, 1), base)


def test_an_image_is_encoded_the_same_every_time(session: Session) -> None:
    once = session.encode_image(picture(1))
    assert once.shape == (session.image_tokens, 128) == (64, 128)
    session.encode_image(picture(2))
    assert np.array_equal(session.encode_image(picture(1)), once)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((128, 128, 3), np.uint8),
        np.zeros((192, 192, 3), np.float32),
        np.zeros((3, 192, 192), np.uint8),
        np.zeros((192, 192), np.uint8),
    ],
)
def test_another_image_is_refused(session: Session, image: NDArray[np.uint8]) -> None:
    with pytest.raises(PlannerError, match="cannot use this image"):
        session.encode_image(image)


def test_an_image_in_another_memory_order_is_the_same_image(session: Session) -> None:
    image = picture(3)
    turned = np.asfortranarray(image)
    assert np.array_equal(session.encode_image(turned), session.encode_image(image))


def test_a_prompt_beyond_the_context_is_refused_and_the_session_lives_on(session: Session) -> None:
    keep(session)
    image = session.encode_image(picture(1))
    with pytest.raises(PlannerError, match="too long"):
        session.start(image, [5] * CONTEXT_TOKENS)
    before = first_logits(session, 1)
    assert np.isfinite(before).all()


def test_a_closed_session_says_so(tiny: TinyPlanner) -> None:
    session = Session(tiny.model, tiny.mmproj, image_size=192)
    session.close()
    session.close()
    with pytest.raises(PlannerError, match="closed"):
        session.encode_image(picture(1))
    with pytest.raises(PlannerError, match="closed"):
        session.keep_prefix([1])


def test_files_that_are_no_planner_are_typed_errors(tiny: TinyPlanner, tmp_path: Path) -> None:
    noise = tmp_path / "noise.gguf"
    noise.write_bytes(b"GGUF" + bytes(200))
    missing = tmp_path / "missing.gguf"
    for model, mmproj in ((missing, tiny.mmproj), (tiny.model, missing), (noise, tiny.mmproj), (tiny.model, noise)):
        with pytest.raises(PlannerError):
            Session(model, mmproj, image_size=192)
    with pytest.raises(PlannerError):
        Session(tiny.mmproj, tiny.model, image_size=192)


def test_the_grammar_holds_whatever_the_logits_say(session: Session) -> None:
    """Random logits, 300 answers: every one is a legal call, and the long ones with a hint occur too."""
    random = np.random.default_rng(0)
    sampler = GrammarSampler(session.vocabulary, API.grammar())
    written = set()
    for _ in range(300):
        sampler.reset()
        ids = [sampler.choose(random.normal(size=session.vocabulary.size).astype(np.float32))]
        while not session.vocabulary.ends(ids[-1]):
            ids.append(sampler.choose(random.normal(size=session.vocabulary.size).astype(np.float32)))
        written.add(API.parse(session.vocabulary.text(ids)))
    sampler.close()
    assert {call.subtask for call in written} == set(API.subtasks)
    assert any(call.at is not None for call in written)


def test_every_legal_call_passes_the_grammar_untouched(tiny: TinyPlanner, session: Session) -> None:
    """Logits that want a call get exactly that call: the filter never bends a legal answer."""
    sampler = GrammarSampler(session.vocabulary, API.grammar())
    end = Specials.of(session.vocabulary.special).end
    hints = [Call(c.subtask, c.arguments, (9, 0)) for c in API.calls() if API.subtasks[c.subtask].hint]
    for call in (*API.calls(), *hints):
        sampler.reset()
        for token in (*tiny.encode(API.format(call)), end):
            wanted = np.zeros(session.vocabulary.size, np.float32)
            wanted[token] = 1.0
            assert sampler.choose(wanted) == token
    sampler.close()


@pytest.mark.parametrize("grammar", ["", "root ::= missing", "root ::= (", 'other ::= "a"'])
def test_a_bad_grammar_is_a_typed_error_not_a_crash(session: Session, grammar: str) -> None:
    with pytest.raises(PlannerError, match="grammar"):
        GrammarSampler(session.vocabulary, grammar)


def test_logits_that_are_not_finite_are_refused(session: Session) -> None:
    sampler = GrammarSampler(session.vocabulary, API.grammar())
    with pytest.raises(PlannerError, match="finite"):
        sampler.choose(np.full(session.vocabulary.size, np.nan, np.float32))
    sampler.close()


def test_the_planner_writes_a_call_and_repeats_itself(tiny: TinyPlanner) -> None:
    with Planner(API, tiny.model, tiny.mmproj) as planner:
        plans = [planner.next_call(picture(1), TASK, TRANSCRIPT[:n]) for n in (0, 1, 2, 0)]
    for plan in plans:
        assert API.format(plan.call) == plan.raw_text
        assert plan.tokens >= 2
        assert plan.encode_ms > 0
        assert plan.decode_ms > 0
    assert replace(plans[3], encode_ms=0, decode_ms=0) == replace(plans[0], encode_ms=0, decode_ms=0)


@pytest.mark.parametrize("budget", [Budget(tokens=2), Budget(milliseconds=0.0)])
def test_running_out_of_budget_says_what_was_written(tiny: TinyPlanner, budget: Budget) -> None:
    with Planner(API, tiny.model, tiny.mmproj, budget=budget) as planner:
        with pytest.raises(PlannerError, match="budget") as caught:
            planner.next_call(picture(1), TASK)
        assert "tokens" in caught.value.got
        planner.budget = Budget()
        assert planner.next_call(picture(1), TASK).call in set(API.calls())


def test_an_empty_task_is_a_task_error(tiny: TinyPlanner) -> None:
    with Planner(API, tiny.model, tiny.mmproj) as planner, pytest.raises(TaskError):
        planner.next_call(picture(1), " ")


def test_a_planner_of_another_api_is_refused(tiny: TinyPlanner) -> None:
    with pytest.raises(PlannerError, match="another prompt"):
        Planner(RobotApi([API.subtasks["done"]]), tiny.model, tiny.mmproj)


def test_another_api_gets_its_own_calls(tmp_path: Path) -> None:
    only_done = RobotApi([API.subtasks["done"]])
    other = convert_tiny(tmp_path, only_done)
    with Planner(only_done, other.model, other.mmproj) as planner:
        assert planner.next_call(picture(1), TASK).call == Call("done")


def test_opening_planning_and_closing_does_not_leak(tiny: TinyPlanner) -> None:
    """llama.cpp bindings are known to leak about 10 MB an image; 40 sessions of 5 plans must stay within 20 MB."""

    def work() -> None:
        with Planner(API, tiny.model, tiny.mmproj) as planner:
            for seed in range(5):
                planner.next_call(picture(seed), TASK, TRANSCRIPT)

    def resident_mb() -> float:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

    for _ in range(5):
        work()
    before = resident_mb()
    for _ in range(40):
        work()
    assert resident_mb() - before < 20


@pytest.mark.parametrize(
    ("flags", "own_layouts"), [("AVX2 AVX512 AMX_INT8", False), ("AVX2 AVX512", True), ("NEON", True)]
)
def test_llama_cpp_never_multiplies_with_amx(monkeypatch: pytest.MonkeyPatch, flags: str, own_layouts: bool) -> None:
    """GCC 12 drops the tile configuration of llama.cpp's AMX code: the first quantized product is the last one."""
    monkeypatch.setattr(native, "build_flags", lambda: (flags, False))
    assert bool(native.model_options(gpu=False).use_extra_bufts) is own_layouts
    assert native.model_options(gpu=False).n_gpu_layers == 0
    assert native.model_options(gpu=True).n_gpu_layers == -1
