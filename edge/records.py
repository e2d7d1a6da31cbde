"""Reading a mapping into frozen dataclasses, strictly: no unknown key, no missing key, no wrong type goes unnoticed."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from edge.errors import EdgeError

T = TypeVar("T")


def read(kind: type[T], data: object, where: str, error: type[EdgeError]) -> T:
    """Builds a dataclass from parsed JSON or TOML.

    Args:
        kind: A dataclass of str, int, float, bool, Any, dataclasses, `tuple[T, ...]`, `dict[str, T]` and `T | None`.
        data: What the parser returned.
        where: Name of the place in messages, e.g. `manifest.json` or `arm.toml: budgets`.
        error: The error type to raise.

    Raises:
        EdgeError: (as `error`) an unknown key, with the nearest known one; a missing key; a value of another type.
    """
    if not isinstance(data, Mapping):
        raise error(f"{where} is not a table of keys", expected="keys and values", got=_shown(data))
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            raise unknown_key(str(key), fields, where, error)
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _value(hints[name], data[name], f"{where}: {name}", error)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise error(
                f"{where} has no key {name!r}", expected=", ".join(fields), got=", ".join(map(str, data)) or "no keys"
            )
    return kind(**values)


def unknown_key(key: str, known: typing.Iterable[str], where: str, error: type[EdgeError]) -> EdgeError:
    """The error for a key nobody knows, naming the nearest one that exists."""
    names = list(known)
    near = difflib.get_close_matches(key, names, 1, 0.5)
    fix = f"did you mean {near[0]!r}?" if near else "remove the key"
    return error(f"{where} has an unknown key {key!r}", expected="one of " + ", ".join(names), got=repr(key), fix=fix)


def _value(hint: Any, value: Any, where: str, error: type[EdgeError]) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):  # only `T | None` is used
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if value is None else _value(inner, value, where, error)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_value(arguments[0], item, f"{where}[{i}]", error) for i, item in enumerate(value))
    if origin is dict and isinstance(value, Mapping):
        return {str(key): _value(arguments[1], item, f"{where}.{key}", error) for key, item in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return read(hint, value, where, error)
    if hint is float and type(value) in (int, float):
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    expected = getattr(origin or hint, "__name__", str(hint))
    raise error(f"{where} has a value of the wrong type", expected=expected, got=_shown(value))


def _shown(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
