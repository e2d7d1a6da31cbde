"""`python -m export`: a table of subcommands, each imported only when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from edge.errors import EdgeError
from export.command import Command

#: Subcommand: (where its `Command` is, one line of help).
COMMANDS = {
    "planner": ("export.planner:COMMAND", "checkpoint of the planner -> two GGUF files, checked against PyTorch"),
    "policy": ("export.policy:COMMAND", "checkpoint of the policy -> ONNX, checked against PyTorch"),
    "precision": ("export.precision:COMMAND", "policy ONNX -> the same in fp16 or int8, compared with fp32"),
    "engine": ("export.engine:COMMAND", "policy ONNX -> TensorRT engine for the device it is built on"),
    "bundle": ("export.bundle_commands:BUNDLE", "planner + policy + manifest -> one directory that a robot runs"),
    "verify": ("export.bundle_commands:VERIFY", "a bundle's files, checksums and API against its manifest"),
    "inspect": (
        "export.bundle_commands:INSPECT",
        "a bundle's report card: success, parity, speed and memory here, sizes, what made it",
    ),
}

_EPILOG = """\
the usual order, from two checkpoints to a bundle:
  python -m export planner --checkpoint checkpoints/planner --cases checkpoints/planner/cases.npz --out build/planner
  python -m export policy  --checkpoint checkpoints/policy  --out build/policy/policy.onnx
  python -m export bundle  --help
exit status: 0 done, 2 unusable input, 3 the exported files do not do what the checkpoint does
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; prints typed errors to stderr and returns their exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Turn trained checkpoints into what a robot runs. Each export ends in a parity gate.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    table = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (where, line) in COMMANDS.items():
        entry = table.add_parser(name, help=line, formatter_class=argparse.RawDescriptionHelpFormatter)
        if arguments[:1] == [name]:
            command = _load(where)
            entry.description = command.description
            command.add_arguments(entry)
            entry.set_defaults(run=command.run)
    parsed = parser.parse_args(arguments)
    try:
        status: int = parsed.run(parsed)
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return status


def _load(where: str) -> Command:
    module, _, name = where.partition(":")
    command: Command = getattr(importlib.import_module(module), name)
    return command


if __name__ == "__main__":
    sys.exit(main())
