"""What a bundle is made of, and the checks that keep a wrong one off the robot.

A bundle is a directory with `manifest.json`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from edge.errors import BundleError
from edge.records import read

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Rates:
    """How a policy's chunks are meant to be followed.

    Attributes:
        target_hz: Targets a second.
        horizon: Targets in a chunk.
        replan_every: The next chunk is computed after so many.
        lead: The arm is sent where the chunk is so many targets later. It makes up for the servos' lag, and keeps a
            policy that eases into every motion from starting over at each chunk.
    """

    target_hz: float
    horizon: int
    replan_every: int = 8
    lead: int = 2

    @property
    def period_ns(self) -> int:
        """Time between two targets of a chunk."""
        return round(1e9 / self.target_hz)

    @property
    def lead_ns(self) -> int:
        """By how much a chunk is moved forward in time."""
        return self.lead * self.period_ns


@dataclass(frozen=True)
class Images:
    """Side of the square RGB images the two networks see, in pixels.

    `policy` is None where the graph's inputs say it, camera by camera.
    """

    policy: int | None
    planner: int


@dataclass(frozen=True)
class Tensor:
    """One input or output of a graph.

    `kind` is the field's name for it, e.g. `state/camera/image`; `unit` is what its numbers mean, and `scaled` how the
    graph scales them, where the graph says so.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    kind: str
    unit: str = ""
    scaled: str = ""


@dataclass(frozen=True)
class PolicyPart:
    """The policy's graph and what goes in and out of it. Normalisation is inside the graph, and so is `precision`."""

    file: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    precision: str = "fp32"


@dataclass(frozen=True)
class PlannerPart:
    """The planner's language half and vision half, both GGUF."""

    model: str
    projector: str


@dataclass(frozen=True)
class MonitorNumbers:
    """How the end of a subtask is read from the policy and the gripper. Openings are fractions, times are seconds.

    Simulated SO-101, closing command 0.12: the gripper stands at 0.12 when empty and at 0.19 around a 3 cm cube.

    Attributes:
        finished_probability: The policy says "finished" from here on.
        finished_count: Inferences in a row that must say so.
        held_above: An opening up to this is a closed, empty gripper.
        held_below: An opening from this on is an open gripper.
        blocked: Least distance at which a held object keeps the gripper from its command.
        still_within: The gripper stands if it moved no more than this between two inferences.
        empty_for_s: How long it may be empty where it should hold something, before the subtask has failed.
        rest_within: The arm rests if no joint moved more than this between two inferences, nor is asked to within the
            newest chunk (radians; gripper: share of its opening).
        rest_for_s: A policy that lets the arm rest for so long has nothing left to do, whatever it says.
    """

    finished_probability: float = 0.5
    finished_count: int = 2
    held_above: float = 0.155
    held_below: float = 0.35
    blocked: float = 0.02
    still_within: float = 0.03
    empty_for_s: float = 1.2
    rest_within: float = 0.05
    rest_for_s: float = 1.2


@dataclass(frozen=True)
class Origin:
    """What made a bundle: enough to make it again."""

    command: str
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    parts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """Everything a runtime needs to know about a bundle before it opens a file of it.

    `ready` is the pose that the policy was trained to begin from, in the order of `joints`; the arm goes back to it
    after a failed call.
    """

    format: int
    api_hash: str
    robot: str
    joints: tuple[str, ...]
    units: tuple[str, ...]
    rates: Rates
    images: Images
    policy: PolicyPart
    files: dict[str, str]
    made_by: Origin
    planner: PlannerPart | None = None
    monitor: MonitorNumbers = MonitorNumbers()
    ready: tuple[float, ...] | None = None
    results: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


@dataclass(frozen=True)
class Bundle:
    """A bundle directory and its manifest."""

    path: Path
    manifest: Manifest

    def file(self, name: str) -> Path:
        """Path of a file the manifest lists."""
        return self.path / name

    def verify(self) -> None:
        """Checks that every listed file is there with the content the manifest was written for.

        Raises:
            BundleError: A file is missing, or its sha256 differs.
        """
        listed = self.manifest.files
        used = [self.manifest.policy.file]
        if self.manifest.planner is not None:
            used += [self.manifest.planner.model, self.manifest.planner.projector]
        for name in used:
            if name not in listed:
                raise BundleError(f"{MANIFEST} uses {name} but lists no checksum for it", fix="export the bundle again")
        for name, expected in listed.items():
            path = self._inside(name)
            if not path.is_file():
                raise BundleError(
                    f"the bundle lacks {name}",
                    expected=f"{path}, {expected[:12]}…",
                    got="no such file",
                    fix="copy the whole directory again, or export it again with `python -m export bundle`",
                )
            if (got := sha256(path)) != expected:
                raise BundleError(
                    f"{name} of the bundle is not the file it was made with",
                    expected=f"sha256 {expected}",
                    got=f"sha256 {got}",
                    fix="restore the file; after a change on purpose, export the bundle again",
                )

    def check_fits(self, *, api_hash: str, robot: str, joints: Sequence[str]) -> None:
        """Checks that the bundle was made for this robot and this robot API.

        Raises:
            BundleError: Another API, robot, or order of joints.
        """
        made = self.manifest
        for what, expected, got, fix in (
            ("robot", robot, made.robot, "use a bundle made for this robot, or describe the other one"),
            ("joints", ", ".join(joints), ", ".join(made.joints), "use a bundle made for these joints in this order"),
            (
                "robot API",
                api_hash,
                made.api_hash,
                "the API changed after training: retrain and export, or check out its code",
            ),
        ):
            if expected != got:
                raise BundleError(f"the bundle was made for another {what}", expected=expected, got=got, fix=fix)

    def _inside(self, name: str) -> Path:
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts:
            raise BundleError(
                f"{MANIFEST} lists a file outside the bundle", got=name, fix="list files by relative names"
            )
        return self.path / parts


def load(path: Path | str) -> Bundle:
    """Reads the manifest of a bundle. Call `verify` and `check_fits` before using its files.

    Raises:
        BundleError: No such directory, no manifest, not JSON, an unknown or missing key, or another format.
    """
    path = Path(path)
    text_path = path / MANIFEST
    fix = "pass --bundle DIRECTORY; `python -m export bundle` makes one"
    if not path.is_dir():
        raise BundleError(f"no bundle at {path}", expected=f"a directory with {MANIFEST}", got="no directory", fix=fix)
    if not text_path.is_file():
        raise BundleError(
            f"no bundle at {path}", expected=f"a directory with {MANIFEST}", got=f"no {MANIFEST}", fix=fix
        )
    try:
        data = json.loads(text_path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as problem:
        raise BundleError(
            f"{text_path} is not JSON", expected="JSON", got=str(problem), fix="export the bundle again"
        ) from problem
    if isinstance(data, Mapping) and data.get("format") != FORMAT:
        got = str(data.get("format", "no key 'format'"))
        raise BundleError(
            f"{text_path} has another format", expected=str(FORMAT), got=got, fix="export the bundle again"
        )
    manifest = read(Manifest, data, str(text_path), BundleError)
    if len(manifest.units) != len(manifest.joints):
        got = f"{len(manifest.units)} units for {len(manifest.joints)} joints"
        raise BundleError(
            f"{text_path}: units and joints differ in number", expected="one unit for each joint", got=got
        )
    check_ranges(manifest.rates, manifest.monitor, str(text_path))
    return Bundle(path, manifest)


def check_ranges(rates: Rates, monitor: MonitorNumbers, where: str) -> None:
    """Checks that numbers are ones a robot can be run by.

    Raises:
        BundleError: One is none (NaN), or out of range; names it and the range.
    """
    every, ahead, likely = rates.replan_every, rates.lead, monitor.finished_probability
    never_negative = ("blocked", "still_within", "empty_for_s", "rest_within", "rest_for_s")
    rows: list[tuple[str, float, bool, str]] = [
        ("rates: target_hz", rates.target_hz, rates.target_hz > 0, "more than 0"),
        ("rates: horizon", rates.horizon, rates.horizon >= 1, "1 or more"),
        ("rates: replan_every", every, 1 <= every <= rates.horizon, f"1 to {rates.horizon}, the targets in a chunk"),
        ("rates: lead", ahead, 0 <= ahead < rates.horizon, f"0 to {rates.horizon - 1}, within a chunk"),
        ("monitor: finished_probability", likely, 0 <= likely <= 1, "0 to 1"),
        ("monitor: finished_count", monitor.finished_count, monitor.finished_count >= 1, "1 or more"),
        ("monitor: held_above", monitor.held_above, True, "a number"),
        ("monitor: held_below", monitor.held_below, True, "a number"),
        *((f"monitor: {name}", vars(monitor)[name], vars(monitor)[name] >= 0, "0 or more") for name in never_negative),
    ]
    for name, value, within, expected in rows:
        if not (within and math.isfinite(value)):
            raise BundleError(
                f"{where}: {name} cannot be used",
                expected=expected,
                got=f"{value:g}",
                fix="correct the number, or export the bundle again with one in range",
            )


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
