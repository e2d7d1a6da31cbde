"""`edge bundle install | list | use | rollback | remove`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edge.store import STARTS, STORE, BundleStore

_DESCRIPTION = f"""\
Bundles on a robot. A new one is copied and checked in full before anything changes; switching is one step. A bundle
that was switched to is on trial until the service has become ready with it: after {STARTS} starts that did not, the
service goes back to the last good one by itself.
"""

_EXAMPLES = """\
examples:
  edge bundle install new.tar.gz --use          copy, check, switch; then: systemctl restart edgearm
  edge bundle install models/mine --key ours.pub
  edge bundle list
  edge bundle rollback                          to the one that was good before
"""


def add(table: Any) -> None:
    """Adds the subcommand to `edge`'s."""
    raw = argparse.RawDescriptionHelpFormatter
    bundle = table.add_parser(
        "bundle", help="bundles on this robot: install, switch, go back", description=_DESCRIPTION, epilog=_EXAMPLES,
        formatter_class=raw,
    )  # fmt: skip
    actions = bundle.add_subparsers(dest="action", required=True, metavar="ACTION")

    install = _action(actions, "install", _install, "copy a bundle into the store and check it")
    install.add_argument("source", type=Path, metavar="PATH", help="a bundle directory, or a tar file of one")
    install.add_argument("--key", type=Path, metavar="FILE", help="public key (PEM, Ed25519) that must have signed it")
    install.add_argument("--use", action="store_true", help="switch to it")

    _action(actions, "list", _list, "what is installed, and which one is in use")

    use = _action(actions, "use", _use, "switch to an installed bundle")
    use.add_argument("name", metavar="NAME", help="as `edge bundle list` shows it")

    _action(actions, "rollback", _rollback, "go back to the bundle that was good before")

    remove = _action(actions, "remove", _remove, "delete a bundle that is not in use")
    remove.add_argument("name", metavar="NAME", help="as `edge bundle list` shows it")


def _action(actions: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("--store", type=Path, default=STORE, metavar="DIR", help=f"default: {STORE}")
    parser.set_defaults(run=run)
    return parser


def _install(arguments: argparse.Namespace) -> int:
    from edge.tabletop import API

    store = BundleStore(arguments.store, arguments.key)
    name = store.install(arguments.source, api_hash=API.hash)
    print(f"installed {name}")
    if arguments.use:
        store.use(name)
        _say_switched(name)
    else:
        print(f"to switch to it: edge bundle use {name}")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    entries = BundleStore(arguments.store).list()
    if not entries:
        print(f"no bundle in {arguments.store}")
    for entry in entries:
        marks = ((entry.current, "in use"), (entry.good, "good"), (entry.previous, "good before"))
        words = [word for true, word in marks if true]
        if entry.current and not entry.good:
            words.append("on trial")
        print(f"{'*' if entry.current else ' '} {entry.name}  {entry.bytes / 1e6:6.1f} MB  {', '.join(words)}".rstrip())
    return 0


def _use(arguments: argparse.Namespace) -> int:
    BundleStore(arguments.store).use(arguments.name)
    _say_switched(arguments.name)
    return 0


def _rollback(arguments: argparse.Namespace) -> int:
    _say_switched(BundleStore(arguments.store).rollback())
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    BundleStore(arguments.store).remove(arguments.name)
    print(f"removed {arguments.name}")
    return 0


def _say_switched(name: str) -> None:
    print(f"switched to {name}; what runs takes it at its next start: systemctl restart edgearm")
