"""`python -m export bundle | verify | inspect`."""

from __future__ import annotations

import json
import shlex
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edge.api import RobotApi
from edge.errors import BundleError
from edge.manifest import Bundle, MonitorNumbers, load
from edge.records import unknown_key
from export.bundle import build, read_results, verify
from export.command import Command
from export.errors import ExportError
from export.staging import write_whole

if TYPE_CHECKING:
    from export.card.data import Card
    from export.card.measure import Measured


def _monitor(settings: list[str]) -> MonitorNumbers:
    known = asdict(MonitorNumbers())
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in known:
            raise unknown_key(key, known, "--monitor", BundleError)
        try:
            known[key] = type(known[key])(value)
        except ValueError as problem:
            raise BundleError(f"--monitor {key} cannot be used", expected="a number", got=repr(value)) from problem
    return MonitorNumbers(**known)


def _api() -> RobotApi:
    from edge.tabletop import API

    return API


def _bundle_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--policy", type=Path, required=True, metavar="FILE", help="policy.onnx from `python -m export policy`"
    )
    parser.add_argument(
        "--planner", type=Path, metavar="DIR", help="what `python -m export planner` wrote; leave out for none"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle, e.g. models/reference")
    parser.add_argument(
        "--results",
        type=Path,
        metavar="JSON",
        help="how well it did, to travel with it: from `python -m learning.evaluate --out`",
    )
    parser.add_argument("--made-by", default="", metavar="TEXT", help="the commands that reproduce the parts")
    parser.add_argument("--seed", type=int, help="seed of the training")
    parser.add_argument("--replan-every", type=int, metavar="N", help="targets until the next chunk (default: 8)")
    parser.add_argument("--lead", type=int, metavar="N", help="targets by which the arm is sent ahead (default: 2)")
    parser.add_argument("--monitor", action="append", default=[], metavar="KEY=NUMBER", help="e.g. held_above=0.155")
    _card_arguments(parser)


def _run_bundle(arguments: Namespace) -> int:
    _check_threads(arguments)  # before anything is written
    results = {}
    if arguments.results is not None:
        results = read_results(arguments.results)
    command = arguments.made_by or shlex.join(["python", "-m", "export", *sys.argv[1:]])
    bundle = build(
        _api(),
        arguments.policy,
        arguments.out,
        planner=arguments.planner,
        monitor=_monitor(arguments.monitor),
        pace={k: v for k in ("replan_every", "lead") if (v := getattr(arguments, k)) is not None},
        results=results,
        command=command,
        seed=arguments.seed,
    )
    size = sum(bundle.file(name).stat().st_size for name in bundle.manifest.files)
    print(
        f"{bundle.path}: {len(bundle.manifest.files)} files, {size / 1e6:.1f} MB, api {bundle.manifest.api_hash[:12]}"
    )
    _show(_card(bundle, arguments), details=False)
    return 0


def _card_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--no-latency", action="store_true", help="measure neither speed nor memory on this machine")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="to measure with (default: %(default)s)")


def _check_threads(arguments: Namespace) -> None:
    if arguments.threads < 1:
        raise BundleError("--threads cannot be used", expected="1 or more", got=str(arguments.threads))


def _path_argument(parser: ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="DIR", help="the bundle, e.g. models/reference")


def _inspect_arguments(parser: ArgumentParser) -> None:
    _path_argument(parser)
    parser.add_argument("--html", type=Path, metavar="FILE", help="the card as one HTML file that needs nothing else")
    parser.add_argument("--json", action="store_true", help="the card as JSON instead of tables")
    parser.add_argument("--details", action="store_true", help="every table, for a closer look")
    _card_arguments(parser)


def _card(bundle: Bundle, arguments: Namespace) -> Card:
    """The card. A bundle that is whole but does not run here has one too: it says why nothing was measured."""
    from export.card.measure import measure
    from export.card.reading import read_card

    _check_threads(arguments)
    bundle.verify()
    measured: Measured | str = "--no-latency was given"
    if not arguments.no_latency:
        try:
            measured = measure(bundle.path, arguments.threads)
        except ExportError as problem:
            measured = f"{problem.what}: {problem.got}" if problem.got else problem.what
    return read_card(bundle, measured)


def _show(card: Card, *, details: bool) -> None:
    from export.card.terminal import show

    show(card, details=details)


def _run_verify(arguments: Namespace) -> int:
    bundle, checked = verify(_api(), arguments.bundle)
    for line in checked:
        print(f"ok    {line}")
    if bundle.manifest.planner is not None:
        print("note  the planner's files were compared, not loaded; `python -m export inspect` runs them")
    print(f"{bundle.path}: {len(bundle.manifest.files)} files as made; API, joints and policy graph fit")
    return 0


def _run_inspect(arguments: Namespace) -> int:
    card = _card(load(arguments.bundle), arguments)
    if arguments.html is not None:
        from export.card.page import render

        write_whole(arguments.html, render(card))
        print(f"{arguments.html}: written", file=sys.stderr)
    if arguments.json:
        print(json.dumps(card.as_dict(), indent=2))
    elif arguments.html is None or arguments.details:
        _show(card, details=arguments.details)
    return 0


BUNDLE = Command(
    """\
Put the exported planner and policy into one directory with a manifest: robot API hash, joints, units, rates, shapes,
checksums, what made it and how well it did. It is written aside and renamed, so there is never half a bundle.

example:
  python -m export bundle --planner build/planner --policy build/policy/policy.onnx --out models/reference
""",
    _bundle_arguments,
    _run_bundle,
)
VERIFY = Command(
    "Check a bundle as the robot does before it moves: checksums, robot API, joints, and that the policy graph loads.",
    _path_argument,
    _run_verify,
)
INSPECT = Command(
    """\
Show a bundle's report card: how well it did, how far it is from what was trained, how fast it is and how much memory it
takes on this machine, how large it is, what made it. Its files are compared with the manifest first.

examples:
  python -m export inspect models/reference
  python -m export inspect models/reference --html card.html
  python -m export inspect models/reference --no-latency --json
""",
    _inspect_arguments,
    _run_inspect,
)
