"""Text to call without running anything: `ast` in expression mode, a whitelist of nodes, and a bound on the length."""

from __future__ import annotations

import ast
import re

from edge.api.calls import Call, Cell
from edge.errors import CallError

#: No legal call is near this long; it bounds the work that hostile text can cause.
MAX_CHARACTERS = 200

# Printable ASCII without the backslash: no escapes, no look-alike letters, no control characters.
_LEGAL = re.compile(r"[ -\[\]-~]+")
# `1if` and the like make Python's tokenizer warn instead of fail; no call holds a digit before a letter.
_GLUED = re.compile(r"[0-9][A-Za-z_]")

_SHAPE = 'one call such as pick("red cube") or pick("red cube", at=(3, 7))'
_FIX = "write exactly one call of the API, nothing around it"


def read_call(text: str) -> Call:
    """The call that a text spells, not yet checked against an API.

    Raises:
        CallError: If the text is anything but one call with string arguments and at most `at=(int, int)`.
    """
    if not isinstance(text, str):
        raise CallError("not text", expected=_SHAPE, got=type(text).__name__, fix=_FIX)
    if len(text) > MAX_CHARACTERS:
        raise CallError("too long", expected=f"at most {MAX_CHARACTERS} characters", got=f"{len(text)}", fix=_FIX)
    if not _LEGAL.fullmatch(text) or _GLUED.search(text):
        raise CallError("not a call", expected=_SHAPE, got=repr(text), fix=_FIX)
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise CallError("not a call", expected=_SHAPE, got=repr(text), fix=_FIX) from error
    if type(node) is not ast.Call or type(node.func) is not ast.Name:
        raise CallError("not a call", expected=_SHAPE, got=repr(text), fix=_FIX)
    return Call(node.func.id, tuple(_string(argument, text) for argument in node.args), _hint(node.keywords, text))


def _string(node: ast.expr, text: str) -> str:
    if type(node) is not ast.Constant or type(node.value) is not str:
        raise CallError("an argument is not an object name", expected='a string such as "red cube"', got=repr(text))
    return node.value


def _hint(keywords: list[ast.keyword], text: str) -> Cell | None:
    if not keywords:
        return None
    if len(keywords) > 1 or keywords[0].arg != "at":
        raise CallError("a keyword other than the hint", expected="at=(column, row), once, or nothing", got=repr(text))
    node = keywords[0].value
    if type(node) is not ast.Tuple or len(node.elts) != 2:
        raise CallError("the hint is not a cell", expected="at=(column, row)", got=repr(text))
    column, row = (_integer(element, text) for element in node.elts)
    return column, row


def _integer(node: ast.expr, text: str) -> int:
    if type(node) is not ast.Constant or type(node.value) is not int:  # bool is not int here, on purpose
        raise CallError("a cell is two whole numbers", expected="at=(3, 7)", got=repr(text))
    return node.value
