"""The robot API: one declaration, and everything that follows from it agrees."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.api import MAX_CHARACTERS, Call, Cell, Grid, Noun, Outcome, RobotApi, subtask
from edge.errors import ApiError, CallError
from edge.tabletop import API, COLOURS

CELLS = list(itertools.product(range(10), range(10)))


def every_call() -> Iterator[Call]:
    """All 26 calls, and with all 100 hints where one may be given."""
    for call in API.calls():
        yield call
        if API.subtasks[call.subtask].hint is not None:
            yield from (Call(call.subtask, call.arguments, cell) for cell in CELLS)


LEGAL = {API.format(call) for call in every_call()}


def sentences(grammar: str, rule: str = "root") -> set[str]:
    """Every text that a finite GBNF grammar makes: an independent reading of the few constructs that we emit."""
    rules = dict(line.split(" ::= ", 1) for line in grammar.strip().splitlines())
    tokens = re.findall(r'"(?:[^"\\]|\\.)*"|[a-z0-9-]+|[()|?]', rules[rule])

    def alternatives() -> set[str]:
        made = sequence()
        while tokens and tokens[0] == "|":
            tokens.pop(0)
            made |= sequence()
        return made

    def sequence() -> set[str]:
        made = {""}
        while tokens and tokens[0] not in "|)":
            made = {left + right for left, right in itertools.product(made, item())}
        return made

    def item() -> set[str]:
        token = tokens.pop(0)
        if token == "(":
            made = alternatives()
            tokens.pop(0)
        elif token.startswith('"'):
            made = {token[1:-1].replace('\\"', '"')}
        else:
            made = sentences(grammar, token)
        if tokens and tokens[0] == "?":
            tokens.pop(0)
            made |= {""}
        return made

    return alternatives()


def test_the_grammar_makes_exactly_the_canonical_texts() -> None:
    assert sentences(API.grammar()) == LEGAL


def test_parse_inverts_format_for_every_call() -> None:
    calls = list(every_call())
    assert len(calls) == 26 + (6 + 12) * 100
    for call in calls:
        text = API.format(call)
        assert API.parse(text) == call
        assert API.format(API.parse(text)) == text


def test_token_ids_tell_calls_apart_and_fit_their_tables() -> None:
    calls = list(every_call())
    rows = np.stack([API.encode(call) for call in calls])
    assert rows.dtype == np.int32
    assert rows.shape == (len(calls), 5)
    assert len(np.unique(rows, axis=0)) == len(calls)
    assert (rows >= 0).all()
    assert (rows < np.array(API.token_counts())).all()
    # Every row of every table is used, but for verb 0: a call always has a verb.
    assert [len(np.unique(column)) for column in rows.T] == [API.token_counts()[0] - 1, *API.token_counts()[1:]]


def test_token_ids_of_a_known_call() -> None:
    assert API.encode(API.parse('pick("red cube", at=(3, 7))')).tolist() == [1, 1, 1, 4, 8]
    assert API.encode(API.parse('place_on("blue plate")')).tolist() == [2, 3, 2, 0, 0]
    assert API.encode(API.parse("done()")).tolist() == [5, 0, 0, 0, 0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "pick",
        "pick()",
        'pick("red cube"',
        'pick("red cube"))',
        'pick("red cube"); done()',
        'pick("red cube")\ndone()',
        'pick("red cube", "blue cube")',
        'pick(cube="red cube")',
        'pick("red plate")',
        'pick("Red cube")',
        "pick('red' + ' cube')",
        'pick(f"red cube")',
        'pick(b"red cube")',
        'pick(*["red cube"])',
        'pick(**{"cube": "red cube"})',
        'pick("red cube", at=(10, 0))',
        'pick("red cube", at=(-1, 0))',
        'pick("red cube", at=(1, 2, 3))',
        'pick("red cube", at=(1.0, 2))',
        'pick("red cube", at=(True, 2))',
        'pick("red cube", at=[1, 2])',
        'pick("red cube", at=3)',
        'pick("red cube", at=None)',
        'pick("red cube", at=(1, 2), at=(1, 2))',
        'pick("red cube", to=(1, 2))',
        'pick("red cube", at=(99999999999999999999, 2))',
        'place_at("red cube", at=(1, 2))',
        "place_free(at=(1, 2))",
        'place_free("red cube")',
        'api.pick("red cube")',
        'pick("red cube").real',
        "(lambda: done)()()",
        "(done := done)()",
        "[done() for _ in ()]",
        "done() if 1 else done()",
        "not done()",
        '__import__("os").system("true")',
        'exec("done()")',
        'eval("done()")',
        "done(exit())",
        "1if 1else done()",
        'pick("red cube\\x22")',
        "done()\x00",
        "d\u043ene()",  # the second letter is Cyrillic
        "(" * 150,
        "-" * 199,
        "[" * 90 + "]" * 90,
        "done()" + " " * MAX_CHARACTERS,
    ],
)
def test_anything_else_is_a_call_error(text: str) -> None:
    with pytest.raises(CallError):
        API.parse(text)


@given(st.text(max_size=300))
def test_garbage_is_a_call_error(text: str) -> None:
    try:
        call = API.parse(text)
    except CallError:
        assert text not in LEGAL
    else:
        assert API.format(call) in LEGAL


@given(st.sampled_from(list(every_call())), st.data())
def test_a_damaged_call_is_a_call_error_or_another_legal_call(call: Call, data: st.DataObject) -> None:
    text = API.format(call)
    where = data.draw(st.integers(0, len(text)))
    damaged = text[:where] + data.draw(st.text(max_size=3)) + text[where + data.draw(st.integers(0, 3)) :]
    try:
        parsed = API.parse(damaged)
    except CallError:
        return
    assert API.format(parsed) in LEGAL


@pytest.mark.parametrize(
    ("text", "near"),
    [('pik("red cube")', "pick"), ('pick("rd cube")', "red cube"), ('place_on("blue plat")', "blue plate")],
)
def test_an_error_names_the_nearest_word(text: str, near: str) -> None:
    with pytest.raises(CallError) as caught:
        API.parse(text)
    assert near in caught.value.fix


@pytest.mark.parametrize(
    "call",
    [
        Call("pick"),
        Call("pick", ("red cube",), (3.0, 7)),  # type: ignore[arg-type]
        Call("pick", ("red cube",), (True, 7)),
        Call("pick", ("red cube",), (1, 2, 3)),  # type: ignore[arg-type]
        Call("pick", ('red cube") or done("',)),
        Call("place_on", ("red cube", "blue plate")),
    ],
)
def test_a_hand_built_call_is_checked_before_it_is_written_or_encoded(call: Call) -> None:
    with pytest.raises(CallError):
        API.format(call)
    with pytest.raises(CallError):
        API.encode(call)


@given(st.sampled_from(list(every_call())), st.sampled_from(list(Outcome)))
def test_transcript_lines_read_back(call: Call, outcome: Outcome) -> None:
    line = API.format_entry((call, outcome))
    assert line == f"{API.format(call)} -> {outcome.value}"
    assert API.parse_entry(line) == (call, outcome)


@pytest.mark.parametrize("line", ["done()", "done() -> great", "dance() -> ok", "", " -> ok"])
def test_other_transcript_lines_are_call_errors(line: str) -> None:
    with pytest.raises(CallError):
        API.parse_entry(line)


def test_objects_are_what_calls_can_name() -> None:
    assert set(API.objects) == {f"{colour} {shape}" for colour in COLOURS for shape in ("cube", "plate")}
    assert {name for call in API.calls() for name in call.arguments} == set(API.objects)


def test_the_prompt_names_every_subtask_and_word() -> None:
    for word in (*API.subtasks, *API.colours, *API.shapes):
        assert word in API.prompt()


class _Recorder:
    """Hands that note what they were asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        def ask(*positional: Any, **named: Any) -> Iterator[Any]:
            self.asked.append((name, positional, named))
            return iter(())

        return ask


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ('pick("red cube", at=(3, 7))', ("grasp", ("red cube",), {})),
        ('place_on("blue plate")', ("put_on", ("blue plate",), {})),
        ('place_at("green cube")', ("put_at", (), {"place_of": "green cube"})),
        ("place_free()", ("put_free", (), {})),
        ("done()", ("finish", (), {})),
    ],
)
def test_a_body_asks_the_hands(text: str, asked: tuple[str, tuple[Any, ...], dict[str, Any]]) -> None:
    hands = _Recorder()
    assert list(API.run(API.parse(text), hands)) == []
    assert hands.asked == [asked]


Thing = Annotated[str, Noun(("red", "blue"), ("ball",))]


def _api(doc: str = "push it", colours: tuple[str, ...] = ("red", "blue"), columns: int = 4) -> RobotApi:
    ball = Annotated[str, Noun(colours, ("ball",))]
    cell = Annotated[Cell, Grid(columns, 2)]

    def push(hands: Any, ball: Any, *, at: Any = None) -> Iterator[Any]:
        return iter(())

    push.__doc__ = doc
    push.__annotations__ = {"ball": ball, "at": cell | None}
    return RobotApi([subtask(push)])


def test_another_module_of_subtasks_is_another_api() -> None:
    api = _api()
    assert api.token_counts() == (2, 3, 2, 5, 3)
    assert sentences(api.grammar()) == {
        f'push("{colour} ball"{hint})'
        for colour in ("red", "blue")
        for hint in ["", *(f", at=({x}, {y})" for x in range(4) for y in range(2))]
    }


def test_the_hash_follows_the_declaration_and_nothing_else() -> None:
    assert _api().hash == _api().hash
    others = [_api(doc="pull it"), _api(colours=("blue", "red")), _api(columns=5), API]
    assert len({_api().hash, *(api.hash for api in others)}) == 5
    assert re.fullmatch("[0-9a-f]{64}", API.hash)


def _no_docstring(hands: Any) -> Iterator[Any]:
    return iter(())


def two_objects(hands: Any, first: Thing, second: Thing) -> Iterator[Any]:
    """join them"""
    return iter(())


def no_vocabulary(hands: Any, thing: str) -> Iterator[Any]:
    """find it"""
    return iter(())


def optional_object(hands: Any, thing: Thing = "red ball") -> Iterator[Any]:
    """find it"""
    return iter(())


def no_hands() -> Iterator[Any]:
    """nothing"""
    return iter(())


def hint_without_object(hands: Any, *, at: Annotated[Cell, Grid(2, 2)] | None = None) -> Iterator[Any]:
    """look"""
    return iter(())


def hint_required(hands: Any, thing: Thing, *, at: Annotated[Cell, Grid(2, 2)]) -> Iterator[Any]:
    """look"""
    return iter(())


def Capital(hands: Any) -> Iterator[Any]:  # noqa: N802
    """shout"""
    return iter(())


@pytest.mark.parametrize(
    "body",
    [
        _no_docstring,
        two_objects,
        no_vocabulary,
        optional_object,
        no_hands,
        hint_without_object,
        hint_required,
        Capital,
    ],
)
def test_a_declaration_that_cannot_become_a_grammar_is_refused(body: Any) -> None:
    with pytest.raises(ApiError):
        subtask(body)


@pytest.mark.parametrize(
    ("colours", "shapes"),
    [((), ("cube",)), (("red", "red"), ("cube",)), (("dark red",), ("cube",)), (('r"',), ("cube",))],
)
def test_a_vocabulary_that_cannot_be_written_is_refused(colours: tuple[str, ...], shapes: tuple[str, ...]) -> None:
    with pytest.raises(ApiError):
        Noun(colours, shapes)


def test_an_api_needs_subtasks_of_different_names() -> None:
    done = API.subtasks["done"]
    for subtasks in ([], [done, done], [lambda hands: iter(())]):
        with pytest.raises(ApiError):
            RobotApi(subtasks)  # type: ignore[arg-type]
