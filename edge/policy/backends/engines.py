"""Which TensorRT engine belongs to which graph, device and version: names, records, and where they lie.

An engine is a program for one device. It is found by what it was built from and for, never by its name alone.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from edge.errors import PolicyError
from edge.manifest import sha256

FORMAT = 1
ENDING = ".engine"


@dataclass(frozen=True)
class Device:
    """A GPU: its name as CUDA tells it, and its compute capability. The name may be empty where none is at hand."""

    name: str
    major: int
    minor: int

    @property
    def sm(self) -> str:
        """E.g. `sm87`."""
        return f"sm{self.major}{self.minor}"

    def __str__(self) -> str:
        return f"{self.name or 'any device'} ({self.sm})"


@dataclass(frozen=True)
class Compiler:
    """What builds and runs engines: module `tensorrt` or `tensorrt_rtx`, and its version."""

    module: str
    version: str

    @property
    def portable(self) -> bool:
        """Whether an engine runs on every device of its compute capability: TensorRT-RTX makes the kernels there."""
        return self.module == "tensorrt_rtx"

    def __str__(self) -> str:
        return f"{'TensorRT-RTX' if self.portable else 'TensorRT'} {self.version}"


@dataclass(frozen=True)
class EngineRecord:
    """What is written beside an engine.

    Attributes:
        format: Of this record.
        model: sha256 of the ONNX file.
        engine: sha256 of the engine file.
        module: Of the compiler.
        version: Of the compiler.
        device: Name of the device; empty for an engine that runs on any of its compute capability.
        sm: Compute capability, e.g. `sm87`.
        precision: Of the graph, as its metadata says.
        typing: `strong` or `weak`.
        layers: In the network that was parsed.
        seconds: The build took.
        bytes: Of the engine.
    """

    format: int
    model: str
    engine: str
    module: str
    version: str
    device: str
    sm: str
    precision: str
    typing: str
    layers: int
    seconds: float
    bytes: int

    def to_json(self) -> str:
        """The text of the record."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def misfit(self, model: str, device: Device, compiler: Compiler) -> str:
        """What keeps the engine from running a model on a device; empty if nothing does."""
        for what, made, here in (
            ("model", self.model, model),
            ("compiler", self.module, compiler.module),
            ("version", self.version, compiler.version),
            ("compute capability", self.sm, device.sm),
            ("device", self.device, "" if compiler.portable else device.name),
        ):
            if made != here:
                return f"built for {what} {made[:24] or 'any'}, here is {here[:24] or 'any'}"
        return ""


def engine_name(model: str, device: Device, compiler: Compiler) -> str:
    """File name of an engine: which model, which device, which version.

    Args:
        model: sha256 of the ONNX file.
        device: The device it is for.
        compiler: What builds it.
    """
    parts = [model[:16], device.sm]
    if not compiler.portable:
        parts.append(_slug(device.name))
    return "-".join([*parts, compiler.module.replace("_", ""), compiler.version]) + ENDING


def timing_cache_name(device: Device, compiler: Compiler) -> str:
    """File name of the timing cache that builds for this device share."""
    return f"timing-{device.sm}-{_slug(device.name)}-{compiler.version}.cache"


def folders(model: Path) -> list[Path]:
    """Where engines of a graph are looked for: beside it, and in the user's cache if that folder cannot be written."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [model.parent / "engines", cache / "edgearm" / "engines"]


def find(model: Path, device: Device, compiler: Compiler) -> tuple[Path, EngineRecord] | str:
    """The engine of a graph for a device, or why there is none.

    Raises:
        PolicyError: There is one and its file or its record is damaged.
    """
    digest = sha256(model)
    others: list[str] = []
    for folder in folders(model):
        for path in sorted(folder.glob(f"*{ENDING}")):
            record = read_record(path)
            if record is None:
                continue  # being written, or not ours
            misfit = record.misfit(digest, device, compiler)
            if misfit:
                others.append(f"{path.name}: {misfit}")
            elif sha256(path) != record.engine:
                raise PolicyError(
                    f"{path} is not the engine it was built as",
                    expected=f"sha256 {record.engine[:16]}…",
                    got=f"sha256 {sha256(path)[:16]}…",
                    fix="remove it and build it again with `python -m export engine`",
                )
            else:
                return path, record
    return "; ".join(others) if others else f"no engine in {' or '.join(map(str, folders(model)))}"


def read_record(engine: Path) -> EngineRecord | None:
    """The record beside an engine, or None if there is none.

    Raises:
        PolicyError: It cannot be read as one.
    """
    path = engine.with_suffix(".json")
    if not path.is_file():
        return None
    fix = "remove it and its engine, and build again with `python -m export engine`"
    try:
        record = EngineRecord(**json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as problem:
        raise PolicyError(
            f"{path} cannot be read", expected="an engine's record", got=str(problem), fix=fix
        ) from problem
    if record.format != FORMAT:
        raise PolicyError(f"{path} has another format", expected=str(FORMAT), got=str(record.format), fix=fix)
    return record


def build_command(model: Path) -> str:
    """What a person types on the robot to build the engine."""
    return f"python -m export engine --policy {model}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "any"
