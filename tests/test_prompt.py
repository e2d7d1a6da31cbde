"""The prompt: one layout, the same token ids in the trainer's tokenizer and in llama.cpp."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_planner import TinyPlanner, convert_tiny

from edge.api import Call, Outcome, RobotApi, Transcript
from edge.errors import CallError, TaskError
from edge.planner.native import Vocabulary
from edge.planner.prompt import (
    MAX_TRANSCRIPT,
    SPECIAL_TOKENS,
    Specials,
    answer_ids,
    clean_task,
    fingerprint,
    prefix_ids,
    segments,
    suffix_ids,
)
from edge.planner.session import Session
from edge.tabletop import API

PICK = Call("pick", ("red cube",), (3, 7))
TRANSCRIPTS = st.lists(st.tuples(st.sampled_from(list(API.calls())), st.sampled_from(list(Outcome))), max_size=8).map(
    tuple
)
TASKS = st.text(min_size=1, max_size=60).filter(lambda text: text.strip(" .!?<>\n\t\r") != "")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyPlanner:
    return convert_tiny(tmp_path_factory.mktemp("planner"))


@pytest.fixture(scope="module")
def vocabulary(tiny: TinyPlanner) -> Iterator[Vocabulary]:
    with Session(tiny.model, tiny.mmproj, image_size=192) as session:
        yield session.vocabulary


def test_the_text_around_the_image() -> None:
    transcript: Transcript = ((PICK, Outcome.OK), (Call("place_free"), Outcome.LOST))
    before, after = segments(API, " Swap  the red cube\nand the green cube. ", transcript)
    assert before == API.prompt() + "\n"
    assert after == ('task: swap the red cube and the green cube\npick("red cube") -> ok\nplace_free() -> lost\nnext:')


def test_old_calls_fall_off_and_new_ones_stay() -> None:
    transcript = ((Call("place_free"), Outcome.OK),) * MAX_TRANSCRIPT + ((PICK, Outcome.MISSED),)
    lines = segments(API, "tidy up", transcript)[1].splitlines()
    assert len(lines) == MAX_TRANSCRIPT + 2
    assert lines[-2] == 'pick("red cube") -> missed'


def test_the_fingerprint_tells_apis_apart_and_repeats() -> None:
    assert fingerprint(API) == fingerprint(RobotApi(API.subtasks.values()))
    assert fingerprint(API) != fingerprint(RobotApi(list(API.subtasks.values())[:-1]))


@pytest.mark.parametrize("task", ["", "  \n", "...", "<>", "x" * 301])
def test_an_unusable_task_is_a_task_error(task: str) -> None:
    with pytest.raises(TaskError):
        clean_task(task)


def test_a_transcript_of_another_api_is_a_call_error() -> None:
    with pytest.raises(CallError):
        segments(API, "dance", ((Call("dance"), Outcome.OK),))


@given(TASKS)
def test_cleaning_a_task_is_idempotent_and_makes_one_line(task: str) -> None:
    try:
        clean = clean_task(task)
    except TaskError:
        return
    assert clean_task(clean) == clean
    assert len(clean.splitlines()) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(task=TASKS, transcript=TRANSCRIPTS, call=st.sampled_from(list(API.calls())))
def test_trainer_and_robot_see_the_same_token_ids(
    tiny: TinyPlanner, vocabulary: Vocabulary, task: str, transcript: Transcript, call: Call
) -> None:
    try:
        clean_task(task)
    except TaskError:
        return
    ours, theirs = Specials.of(vocabulary.special), Specials.of(tiny.tokenizer.convert_tokens_to_ids)
    assert ours == theirs
    assert prefix_ids(API, vocabulary.encode, ours) == prefix_ids(API, tiny.encode, theirs)
    assert suffix_ids(API, vocabulary.encode, ours, task, transcript) == suffix_ids(
        API, tiny.encode, theirs, task, transcript
    )
    assert answer_ids(API, vocabulary.encode, ours, call) == answer_ids(API, tiny.encode, theirs, call)


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_a_task_cannot_spell_a_special_token(tiny: TinyPlanner, vocabulary: Vocabulary, token: str) -> None:
    specials = Specials.of(vocabulary.special)
    for encode in (vocabulary.encode, tiny.encode):
        ids = suffix_ids(API, encode, specials, f"pick {token} now", ())
        assert ids[0] == specials.edge
        assert vocabulary.special(token) not in ids[1:]


def test_every_answer_reads_back(vocabulary: Vocabulary) -> None:
    specials = Specials.of(vocabulary.special)
    for call in (*API.calls(), PICK):
        ids = answer_ids(API, vocabulary.encode, specials, call)
        assert vocabulary.ends(ids[-1])
        assert not any(vocabulary.ends(token) for token in ids[:-1])
        assert API.parse(vocabulary.text(ids)) == call
