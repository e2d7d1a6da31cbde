"""Typed access to the fields of an arm description, whose errors name the file and the field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edge.errors import ArmError

FIX = "compare with edge/robots/so101.json"


class Fields:
    """Typed access to one JSON object whose errors name the file and the field."""

    def __init__(self, path: str, data: Any, where: str = "") -> None:
        self._path, self._where = path, where
        if not isinstance(data, Mapping):
            raise self.error("", "an object", type(data).__name__)
        self._data = data

    def of(self, data: Any, where: str) -> Fields:
        return Fields(self._path, data, where)

    def named(self, name: str) -> str:
        """Where a field is, for errors about what is in it."""
        return ".".join(part for part in (self._where, name) if part)

    def error(self, name: str, expected: str, got: str) -> ArmError:
        return ArmError(f"arm description {self._path}: {self.named(name)}", expected=expected, got=got, fix=FIX)

    def _get(self, name: str, expected: str) -> Any:
        if name not in self._data:
            raise self.error(name, expected, "nothing")
        return self._data[name]

    def has(self, name: str) -> bool:
        return name in self._data

    def boolean(self, name: str) -> bool:
        value = self._get(name, "true or false")
        if not isinstance(value, bool):
            raise self.error(name, "true or false", repr(value))
        return value

    def text(self, name: str) -> str:
        value = self._get(name, "a text")
        if not isinstance(value, str) or not value:
            raise self.error(name, "a text", repr(value))
        return value

    def number(self, name: str) -> float:
        value = self._get(name, "a finite number")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(name, "a finite number", repr(value))
        return float(value)

    def number_within(self, name: str, least: float, most: float) -> float:
        value = self.number(name)
        if not least <= value <= most:
            raise self.error(name, f"{least:g} to {most:g}", str(value))
        return value

    def positive(self, name: str) -> float:
        value = self.number(name)
        if value <= 0:
            raise self.error(name, "a positive number", repr(value))
        return value

    def integer(self, name: str, least: int, most: int, why: str = "") -> int:
        expected = f"an integer {least}…{most}" + (why and f" ({why})")
        value = self._get(name, expected)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.error(name, expected, repr(value))
        return value

    def vector(self, name: str, length: int) -> tuple[float, ...]:
        value = self.list(name)
        if len(value) != length:
            raise self.error(name, f"{length} numbers", f"{len(value)}")
        row = self.of({str(i): entry for i, entry in enumerate(value)}, f"{self._where}.{name}")
        return tuple(row.number(str(i)) for i in range(length))

    def list(self, name: str) -> list[Any]:
        value = self._get(name, "a list")
        if not isinstance(value, list):
            raise self.error(name, "a list", type(value).__name__)
        return value

    def mapping(self, name: str) -> Mapping[str, Any]:
        value = self._get(name, "an object")
        if not isinstance(value, Mapping):
            raise self.error(name, "an object", type(value).__name__)
        return value
